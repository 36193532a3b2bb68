"""Which device a worker gets, with injected numbers of GPUs and real locks."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from clip_worker.errors import ServiceError
from worker.runtime.device import PinnedDevice, default_lock_dir, pin_device

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from worker.runtime.device import pin_device

pinned = pin_device("auto", lambda: 2, lock_dir=Path(sys.argv[1]))
print(pinned.name, flush=True)
sys.stdin.read()
"""


def pin(wanted: str, gpus: int, lock_dir: Path) -> PinnedDevice:
    return pin_device(wanted, lambda: gpus, lock_dir=lock_dir, environment={})


def names(lock_dir: Path, count: int, *, gpus: int, wanted: str = "auto") -> list[str]:
    """The devices of `count` workers that run at the same time; they end before this returns."""
    held = [pin(wanted, gpus, lock_dir) for _ in range(count)]
    for pinned in held:
        assert pinned.lock is not None
        pinned.lock.release()
    return [pinned.name for pinned in held]


def test_the_cpu_takes_no_position(tmp_path: Path) -> None:
    assert pin("cpu", 4, tmp_path) == PinnedDevice("cpu")
    assert pin("auto", 0, tmp_path) == PinnedDevice("cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_numbered_gpu_is_taken_as_it_is_though_others_hold_it(tmp_path: Path) -> None:
    pinned = [pin("cuda:1", 2, tmp_path) for _ in range(2)]
    assert pinned == [PinnedDevice("cuda:1")] * 2


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_workers_of_a_host_go_round_its_gpus(tmp_path: Path, wanted: str) -> None:
    devices = names(tmp_path, 5, gpus=3, wanted=wanted)
    assert devices == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]


def test_a_freed_position_goes_to_the_next_worker(tmp_path: Path) -> None:
    # given three workers of which the second ends
    held = [pin("auto", 3, tmp_path) for _ in range(3)]
    assert held[1].lock is not None
    held[1].lock.release()
    # then the next one takes its place
    assert pin("auto", 3, tmp_path).name == "cuda:1"


def test_the_position_is_held_for_as_long_as_the_object_lives(tmp_path: Path) -> None:
    assert pin("auto", 2, tmp_path).name == "cuda:0"  # dropped at once
    kept = pin("auto", 2, tmp_path)
    assert (kept.name, pin("auto", 2, tmp_path).name) == ("cuda:0", "cuda:1")


def test_two_processes_get_two_gpus_and_a_killed_one_frees_its_own(tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)

    def name(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    with start() as first, start() as second:
        # given
        first_name = name(first)
        assert {first_name, name(second)} == {"cuda:0", "cuda:1"}
        # when one is killed outright
        first.kill()
        first.wait()
        # then its position is free, and only its own
        with start() as third, start() as fourth:
            third_name, fourth_name = name(third), name(fourth)
            third.kill()
            fourth.kill()
        second.kill()
    # (the next one after that is position 2, the first GPU again)
    assert sorted([third_name, fourth_name]) == sorted([first_name, "cuda:0"])
    assert len(list(tmp_path.glob("position-*.lock"))) == 3


class Cuda:
    """An environment, and how many of the devices that exist CUDA sees in it: one MIG instance."""

    def __init__(self, *existing: str, **environment: str) -> None:
        self.environment = environment
        self._existing = existing

    def count(self) -> int:
        listed = self.environment["CUDA_VISIBLE_DEVICES"].split(",")
        seen = [entry for entry in listed if entry in self._existing]
        return min(len(seen), 1) if any(e.startswith("MIG-") for e in listed) else len(seen)

    def pin(self, wanted: str, lock_dir: Path) -> tuple[PinnedDevice, str]:
        pinned = pin_device(wanted, self.count, lock_dir=lock_dir, environment=self.environment)
        return pinned, self.environment["CUDA_VISIBLE_DEVICES"]


INSTANCES = ("MIG-a", "MIG-b", "GPU-c")


@pytest.mark.parametrize("uuid", INSTANCES)
def test_a_device_given_by_its_uuid_is_the_only_one_that_cuda_sees(
    tmp_path: Path, uuid: str
) -> None:
    for cuda in (Cuda(*INSTANCES), Cuda(*INSTANCES, CUDA_VISIBLE_DEVICES="MIG-b")):
        assert cuda.pin(f"cuda:{uuid}", tmp_path) == (PinnedDevice("cuda:0"), uuid)
    assert list(tmp_path.iterdir()) == []  # it takes no position


def test_workers_go_round_a_list_with_mig_instances_each_with_its_own_entry(tmp_path: Path) -> None:
    held = [
        Cuda(*INSTANCES, CUDA_VISIBLE_DEVICES="MIG-a, MIG-b,GPU-c").pin("auto", tmp_path)
        for _ in range(4)
    ]
    assert [pinned.name for pinned, _ in held] == ["cuda:0"] * 4
    assert [entry for _, entry in held] == [*INSTANCES, "MIG-a"]


def test_a_number_is_a_place_in_a_list_with_mig_instances(tmp_path: Path) -> None:
    cuda = Cuda(*INSTANCES, CUDA_VISIBLE_DEVICES="MIG-a,MIG-b")
    assert cuda.pin("cuda:1", tmp_path) == (PinnedDevice("cuda:0"), "MIG-b")
    with pytest.raises(ServiceError, match="'cuda:2', but 2 CUDA devices"):
        Cuda(*INSTANCES, CUDA_VISIBLE_DEVICES="MIG-a,MIG-b").pin("cuda:2", tmp_path)


def test_a_uuid_that_cuda_does_not_find_is_named_and_auto_is_the_cpu_then(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="'cuda:GPU-x', but torch finds no device") as caught:
        Cuda(*INSTANCES).pin("cuda:GPU-x", tmp_path)
    assert caught.value.code == "DEVICE_MISSING"
    gone = Cuda(CUDA_VISIBLE_DEVICES="MIG-gone")
    assert gone.pin("auto", tmp_path)[0] == PinnedDevice("cpu")


@pytest.mark.parametrize(
    ("wanted", "gpus"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2), ("cuda:99", 8)]
)
def test_a_gpu_that_is_not_there_is_named_with_how_many_are(
    tmp_path: Path, wanted: str, gpus: int
) -> None:
    with pytest.raises(ServiceError, match=f"'{wanted}', but {gpus} CUDA devices") as caught:
        pin(wanted, gpus, tmp_path)
    assert caught.value.code == "DEVICE_MISSING"


def test_the_lock_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    names(folder, 1, gpus=2)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_lock_folder_needs_no_user_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a container whose user id has no entry in the password file
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 123_456_789)
    # then
    assert default_lock_dir().name == "clip-worker-123456789"


def test_a_folder_that_can_t_be_made_is_told_with_the_way_round_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError, match="CLIP_WORKER_DEVICE to one GPU"):
        pin("auto", 2, tmp_path / "file" / "locks")


def test_one_gpu_needs_no_lock_and_so_no_folder_that_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)

    pinned = pin_device("auto", lambda: 1, environment={})

    assert (pinned.name, pinned.lock) == ("cuda:0", None)


def test_where_nothing_can_be_written_several_gpus_are_not_shared_out_and_the_remedy_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)

    with pytest.raises(ServiceError) as caught:
        pin_device("auto", lambda: 2, environment={})

    assert caught.value.code == "DEVICE_MISSING"
    assert caught.value.message == (
        "The host's GPUs can't be shared out: no lock file can be written (No usable temporary "
        "directory found in ['/tmp']). Set TMPDIR to a folder that can be written, or "
        "CLIP_WORKER_DEVICE to one GPU such as cuda:0."
    )


def no_folder() -> str:
    """As `tempfile` does on a read-only root."""
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
