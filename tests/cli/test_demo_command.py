"""`clip-worker demo` as a person runs it: in a process of its own, ended in several ways."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.worker_process import clean_environment

from worker.cli.demo.images import DEMO_IMAGES

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not Path("/proc/self/environ").exists(), reason="processes are found in /proc"
    ),
]

LIMIT_S = 120.0
PAUSE_S = 0.02
MARK = "CLIP_DEMO_TEST_MARK"  # not CLIP_WORKER_...: the demo drops its settings


class Demo:
    """A run of the demo, all of whose processes carry a mark in their environment.

    Args:
        folder: For its temporary files, and what it prints.
        settings: More of its environment.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self._mark = f"{MARK}={uuid4().hex}"
        self._printed = folder / "printed"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def printed(self) -> str:
        return self._printed.read_text("utf-8")

    def start(self) -> None:
        name, _, value = self._mark.partition("=")
        environment = clean_environment() | {name: value, "TMPDIR": str(self.temporary)}
        with self._printed.open("wb") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.cli", "demo"],
                env=environment | {"PYTHONIOENCODING": "utf-8"} | self._settings,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + LIMIT_S
        while text not in self.printed:
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < end, self.printed
            time.sleep(PAUSE_S)

    def wait_for_processes(self, more_than: int) -> None:
        self._wait_until(lambda count: count > more_than)

    def wait_for_no_process(self) -> None:
        self._wait_until(lambda count: count == 0)

    def end(self) -> int:
        return self.process.wait(LIMIT_S)

    def processes(self) -> list[str]:
        """Command lines of all that is left of it."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # it ended, or is another user's
        return found

    def _wait_until(self, is_enough) -> None:
        end = time.monotonic() + LIMIT_S
        while not is_enough(len(self.processes())):
            assert time.monotonic() < end, self.processes()
            time.sleep(PAUSE_S)


@pytest.fixture
def demo(tmp_path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    if demo.process.poll() is None:
        demo.process.kill()
        demo.process.wait()


def test_every_picture_is_answered_and_nothing_is_left(demo):
    demo.start()

    assert demo.end() == 0, demo.printed
    for image in DEMO_IMAGES:
        assert image.file_name in demo.printed
    for stage in ("queue", "labels", "fetch", "decode", "batch_wait", "forward", "score"):
        assert f"\n{stage} " in demo.printed
    [right, asked] = re.findall(r"what was drawn in (\d+) of (\d+) images", demo.printed)[0]
    assert int(asked) == len(DEMO_IMAGES)
    assert int(right) >= int(asked) - 1  # by chance: three
    assert "Warning" not in demo.printed
    assert "\x1b" not in demo.printed
    assert demo.processes() == []
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.slow
def test_settings_of_the_persons_own_do_not_reach_it(demo):
    demo._settings = {
        "CLIP_WORKER_REDIS_URL": "nonsense",
        "CLIP_WORKER_DEVICE": "toaster",
        "CELERY_BROKER_URL": "redis://localhost:1",
        "CELERY_RESULT_BACKEND": "redis://localhost:1",
    }
    demo.start()

    assert demo.end() == 0, demo.printed


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "Redis "),
        pytest.param(signal.SIGINT, "images ", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "worker ", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "worker ", marks=pytest.mark.slow),
        (signal.SIGHUP, "images "),
    ],
)
def test_a_signal_ends_all_that_was_started(demo, number, moment):
    demo.start()
    demo.wait_for(f"\n  {moment}")

    demo.process.send_signal(number)

    assert demo.end() == 128 + number, demo.printed
    assert demo.printed.endswith("\nclip-worker: stopped; the demo's worker and Redis are gone.\n")
    assert demo.processes() == []
    assert list(demo.temporary.iterdir()) == []


def test_many_ctrl_cs_end_it_as_well_as_one(demo):
    demo.start()
    demo.wait_for("\n  Redis ")

    while demo.process.poll() is None:
        demo.process.send_signal(signal.SIGINT)

    assert demo.processes() == []
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.slow
def test_worker_and_redis_end_when_the_demo_is_killed(demo):
    demo.start()
    demo.wait_for("\n  images ")
    demo.wait_for_processes(more_than=2)

    demo.process.kill()
    demo.process.wait()

    demo.wait_for_no_process()


@pytest.mark.slow
def test_a_worker_that_ends_at_its_start_is_shown_with_its_last_lines(demo, tmp_path):
    # given: a torch that can't be imported, for the worker only ever imports it
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('libcudart.so is missing')\n")
    demo._settings = {"PYTHONPATH": str(broken)}

    demo.start()

    assert demo.end() == 1
    assert "clip-worker: The demo's worker ended with status 1." in demo.printed
    assert "libcudart.so is missing" in demo.printed
    assert demo.processes() == []
    assert list(demo.temporary.iterdir()) == []
