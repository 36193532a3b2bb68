"""Which device a worker runs on: the one that is set, or the next free GPU of the host.

Workers of a host find their positions through lock files: the first to start holds position 0, and
a position is free again when its holder ends, however it ends.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from clip_worker.errors import ServiceError

MOST_POSITIONS = 1024


@dataclass(frozen=True)
class PinnedDevice:
    """A device's name, and the lock that keeps the position for as long as this object lives."""

    name: str
    lock: FileLock | None = None


def pin_device(wanted: str, cuda_devices: int, lock_dir: Path | None = None) -> PinnedDevice:
    """Choose this process's device.

    Args:
        wanted: `cpu`, `cuda:N`, `cuda` or `auto`. The last two go by position among the host's
            workers, wrapping around; `auto` is the CPU where there is no GPU.
        cuda_devices: How many GPUs this process sees.
        lock_dir: Where the lock files lie; None for this user's, below the temporary folder.

    Raises:
        ServiceError: `DEVICE_MISSING`: no such GPU, or the positions can't be claimed.
    """
    if wanted == "cpu" or (wanted == "auto" and cuda_devices == 0):
        return PinnedDevice("cpu")
    index = int(wanted.partition(":")[2] or 0)
    if index >= cuda_devices:
        raise ServiceError(
            f"CLIP_WORKER_DEVICE is {wanted!r}, but {cuda_devices} CUDA devices are visible here; "
            "give cpu or auto, or mend the driver or CUDA_VISIBLE_DEVICES.",
            "DEVICE_MISSING",
        )
    if ":" in wanted:
        return PinnedDevice(wanted)
    position, lock = _claim_position(lock_dir or default_lock_dir())
    return PinnedDevice(f"cuda:{position % cuda_devices}", lock)


def default_lock_dir() -> Path:
    """`clip-worker-<user id>` in the system's temporary folder."""
    # By number: in a container, the user often has no name.
    return Path(tempfile.gettempdir()) / f"clip-worker-{os.getuid()}"


def _claim_position(lock_dir: Path) -> tuple[int, FileLock]:
    try:
        return _first_free(lock_dir)
    except OSError as error:
        raise ServiceError(
            f"The host's GPUs can't be shared out: {str(lock_dir)!r} can't be written "
            f"({error.strerror}). Set TMPDIR, or CLIP_WORKER_DEVICE to one GPU such as cuda:0.",
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
