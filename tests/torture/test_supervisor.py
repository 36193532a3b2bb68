"""Lives that are started, killed and let end."""

from __future__ import annotations

import queue
import signal
import threading
from pathlib import Path

import pytest

from torture.spawner import Command, Ended, ZygoteSpawner, python_environment
from torture.supervisor import Supervisor

WAIT_S = 30.0
CHILD = "torture.fake_worker"


class Somewhere:
    """A way to nothing."""

    url = ""


class PaperSpawner:
    """Gives out process ids; the test says when they end."""

    def __init__(self) -> None:
        self.ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self.started = 0

    def start(self, _: Command) -> int:
        self.started += 1
        return self.started


class HeldUp(Supervisor):
    """Its pause between an end and the next start lasts until the test goes on."""

    def __init__(
        self, spawner: PaperSpawner, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        super().__init__(spawner, [Somewhere()], _command, folder)
        self.pausing, self.go_on = threading.Event(), threading.Event()
        monkeypatch.setattr("torture.supervisor.time.sleep", self._pause)

    def _pause(self, _: float) -> None:
        if threading.current_thread() is self._thread:
            self.pausing.set()
            self.go_on.wait(WAIT_S)


def _command(_: int, url: str, journal: Path) -> Command:
    environment = python_environment() | {"TORTURE_JOURNAL": str(journal)}
    return Command(CHILD, ("sleep",), environment | {"URL": url}, journal.with_suffix(".log"))


def test_none_starts_once_it_was_told_to_let_them_end(tmp_path, monkeypatch):
    # given a life whose end was seen, and the next not yet started
    spawner = PaperSpawner()
    supervisor = HeldUp(spawner, tmp_path, monkeypatch)
    supervisor._start(0)
    supervisor._thread.start()
    spawner.ended.put(Ended(1, -9, 0.0))
    assert supervisor.pausing.wait(WAIT_S)
    # when
    supervisor.let_end()
    supervisor.go_on.set()
    supervisor._stopping.set()
    supervisor._thread.join(WAIT_S)
    # then
    assert (spawner.started, supervisor.current) == (1, [])


def test_a_life_that_has_just_begun_can_be_killed_at_once(tmp_path):
    with ZygoteSpawner([CHILD], tmp_path / "zygote.log") as spawner:
        for _ in range(20):
            with Supervisor(spawner, [Somewhere()], _command, tmp_path) as supervisor:
                supervisor.let_end()
                [life] = supervisor.current
                life.kill_all()
                assert supervisor.wait_for_ends(WAIT_S) == []
                assert life.status == -signal.SIGKILL
