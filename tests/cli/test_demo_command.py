"""`clip-worker demo` as a process, ended in several ways."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image
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
COUNT = 60
DEMO = (sys.executable, "-m", "worker.cli", "demo")
MARK = "CLIP_DEMO_TEST_MARK"  # not CLIP_WORKER_..., which the demo removes


class Demo:
    """A run of the demo, all of whose processes have a mark in their environment.

    Args:
        folder: For its temporary files and its output.
    """

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.mark = uuid4().hex
        self.output = folder / "output"
        self.sheet = folder / "sheet.png"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def printed(self) -> str:
        return self.output.read_text("utf-8")

    def start(self, **environment: str) -> None:
        own = {MARK: self.mark, "TMPDIR": str(self.temporary), "PYTHONIOENCODING": "utf-8"}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*DEMO, "--images", str(COUNT), "--sheet", str(self.sheet)],
                env=clean_environment() | own | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, text: str) -> None:
        self.wait_until(lambda: text in self.printed or self.process.poll() is not None)
        assert text in self.printed, self.printed

    def wait_until(self, happened) -> None:
        end = time.monotonic() + LIMIT_S
        while not happened():
            assert time.monotonic() < end, (self.printed, self.processes())
            time.sleep(PAUSE_S)

    def exit_status(self) -> int:
        return self.process.wait(LIMIT_S)

    def processes(self) -> list[str]:
        """Command lines of its processes that are running."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # it ended, or belongs to another user
        return found

    def assert_nothing_is_left(self) -> None:
        assert self.processes() == []
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def demo(tmp_path):
    demo = Demo(tmp_path)
    yield demo
    if demo.process.poll() is None:
        demo.process.kill()
        demo.process.wait()


def test_every_image_has_a_result_and_nothing_is_left(demo):
    demo.start()

    assert demo.exit_status() == 0, demo.printed
    for image in DEMO_IMAGES:
        assert image.file_name in demo.printed
        assert all(f"  ✓ {label} " in demo.printed for label in image.true)
    for stage in ("queue", "labels", "fetch", "decode", "batch_wait", "forward", "score"):
        assert f"\n{stage} " in demo.printed
    [(right, total)] = re.findall(r"above all others for (\d+) of (\d+) images", demo.printed)
    assert right == total == str(len(DEMO_IMAGES))
    assert re.search(rf"\n +{COUNT} of {COUNT} +\d+ images/s in batches of \d+\.\d\n", demo.printed)
    [(right, total)] = re.findall(r"label was right for (\d+) of (\d+)\.", demo.printed)
    assert int(total) == COUNT
    assert int(right) >= 0.95 * COUNT  # by chance: a seventh
    with Image.open(demo.sheet) as sheet:
        assert sheet.height > sheet.width
    assert "Warning" not in demo.printed
    assert "\x1b" not in demo.printed
    demo.assert_nothing_is_left()


@pytest.mark.slow
def test_settings_in_the_environment_are_ignored(demo):
    demo.start(
        CLIP_WORKER_REDIS_URL="nonsense",
        CLIP_WORKER_DEVICE="toaster",
        CELERY_BROKER_URL="redis://localhost:1",
        CELERY_RESULT_BACKEND="redis://localhost:1",
    )

    assert demo.exit_status() == 0, demo.printed


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
def test_a_signal_stops_everything_that_was_started(demo, number, moment):
    demo.start()
    demo.wait_for(f"\n  {moment}")

    demo.process.send_signal(number)

    assert demo.exit_status() == 128 + number, demo.printed
    last = "clip-worker: interrupted; the demo's worker and Redis were stopped."
    assert demo.printed.splitlines()[-1] == last
    demo.assert_nothing_is_left()


def test_repeated_ctrl_c_stops_it_just_as_well(demo):
    demo.start()
    demo.wait_for("\n  Redis ")

    while demo.process.poll() is None:
        demo.process.send_signal(signal.SIGINT)

    demo.assert_nothing_is_left()


@pytest.mark.slow
def test_worker_and_redis_end_when_the_demo_is_killed(demo):
    demo.start()
    demo.wait_for("\n  images ")
    demo.wait_until(lambda: len(demo.processes()) > 2)

    demo.process.kill()
    demo.process.wait()

    demo.wait_until(lambda: not demo.processes())


@pytest.mark.slow
def test_the_output_of_a_worker_that_fails_to_start_is_shown(demo, tmp_path):
    # given: a torch that can't be imported; only the worker imports it
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('libcudart.so is missing')\n")

    demo.start(PYTHONPATH=str(broken))

    assert demo.exit_status() == 1
    assert "clip-worker: The demo's worker exited with status 1." in demo.printed
    assert "libcudart.so is missing" in demo.printed
    demo.assert_nothing_is_left()
