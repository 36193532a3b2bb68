"""Which device a worker runs on: the one that is set, or the next free GPU of the host.

Workers of a host find their positions through lock files: the first to start holds position 0, and
a position is free again when its holder ends, however it ends.

A process can use only one MIG instance: the first in `CUDA_VISIBLE_DEVICES`. So a worker leaves
only its own there, or the GPU that is given by its UUID. CUDA reads the variable once, when it is
initialised, which must not have happened before.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from clip_worker.errors import ServiceError

MOST_POSITIONS = 1024
VISIBLE = "CUDA_VISIBLE_DEVICES"
MIG = "MIG-"


@dataclass(frozen=True)
class PinnedDevice:
    """A device's name, and the lock that keeps the position for as long as this object lives."""

    name: str
    lock: FileLock | None = None


def pin_device(
    wanted: str,
    count_gpus: Callable[[], int],
    *,
    lock_dir: Path | None = None,
    environment: MutableMapping[str, str] | None = None,
) -> PinnedDevice:
    """Choose this process's device.

    Args:
        wanted: `cpu`, `cuda:N`, `cuda:GPU-<uuid>`, `cuda:MIG-<uuid>`, `cuda` or `auto`. The last
            two go by position among the host's workers, wrapping around; `auto` is the CPU where
            there is no GPU. Where MIG instances are visible, N is a place in the list of them.
        count_gpus: How many GPUs this process sees, with `CUDA_VISIBLE_DEVICES` as it is then.
        lock_dir: Where the lock files lie; None for this user's, below the temporary folder.
        environment: Where `CUDA_VISIBLE_DEVICES` is read and set; None for this process's.

    Raises:
        ServiceError: `DEVICE_MISSING`: no such GPU, or the positions can't be claimed.
    """
    if wanted == "cpu":
        return PinnedDevice("cpu")
    environment = os.environ if environment is None else environment
    number = wanted.partition(":")[2]
    if number and not number.isdigit():
        return _pin_uuid(wanted, number, count_gpus, environment)
    listed = mig_list(environment.get(VISIBLE, ""))
    gpus = len(listed) or count_gpus()
    if wanted == "auto" and not gpus:
        return PinnedDevice("cpu")
    if int(number or 0) >= gpus:
        raise _missing(wanted, f"{gpus} CUDA devices are visible here")
    # One GPU is everybody's: no lock, and nothing written where all may be read-only.
    position, lock = (int(number or 0), None) if number or gpus == 1 else _claim_position(lock_dir)
    if not listed:
        return PinnedDevice(f"cuda:{position % gpus}", lock)
    pinned = _pin_uuid(wanted, listed[position % gpus], count_gpus, environment)
    return pinned if pinned.name == "cpu" else PinnedDevice(pinned.name, lock)


def usable_gpus(cuda: Any) -> int:
    """How many GPUs torch can use.

    `device_count` alone also counts the GPUs of a driver that is too old for this build of torch.

    Args:
        cuda: The module `torch.cuda`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reason is said by worker.runtime.unusable_gpu
        return int(cuda.device_count()) if cuda.is_available() else 0


def mig_list(visible: str) -> list[str]:
    """The entries of `CUDA_VISIBLE_DEVICES` if there is a MIG instance among them, else none."""
    entries = [entry.strip() for entry in visible.split(",") if entry.strip()]
    return entries if any(entry.startswith(MIG) for entry in entries) else []


def default_lock_dir() -> Path:
    """`clip-worker-<user id>` in the system's temporary folder."""
    # By number: in a container, the user often has no name.
    return Path(tempfile.gettempdir()) / f"clip-worker-{os.getuid()}"


def _pin_uuid(
    wanted: str, uuid: str, count_gpus: Callable[[], int], environment: MutableMapping[str, str]
) -> PinnedDevice:
    environment[VISIBLE] = uuid
    if not count_gpus():
        if wanted == "auto":
            return PinnedDevice("cpu")
        raise _missing(wanted, f"torch finds no device {uuid!r} (`nvidia-smi -L` lists them)")
    return PinnedDevice("cuda:0")


def _missing(wanted: str, reason: str) -> ServiceError:
    return ServiceError(
        f"CLIP_WORKER_DEVICE is {wanted!r}, but {reason}; "
        f"give cpu or auto, or mend the driver or {VISIBLE}.",
        "DEVICE_MISSING",
    )


def _claim_position(lock_dir: Path | None) -> tuple[int, FileLock]:
    try:
        return _first_free(lock_dir or default_lock_dir())
    except OSError as error:  # `tempfile` raises one where no folder can be written
        where = (
            f"{error.filename!r} can't be written"
            if error.filename
            else "no lock file can be written"
        )
        raise ServiceError(
            f"The host's GPUs can't be shared out: {where} ({error.strerror}). Set TMPDIR to a "
            "folder that can be written, or CLIP_WORKER_DEVICE to one GPU such as cuda:0.",
            "DEVICE_MISSING",
        ) from error


def _first_free(lock_dir: Path) -> tuple[int, FileLock]:
    lock_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    for position in range(MOST_POSITIONS):
        lock = FileLock(lock_dir / f"position-{position}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        return position, lock
    raise ServiceError(
        f"All {MOST_POSITIONS} positions in {str(lock_dir)!r} are taken.", "DEVICE_MISSING"
    )
