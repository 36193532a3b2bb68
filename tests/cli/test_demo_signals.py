"""Signals while something is started, run and ended; and the child that ends with its owner."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from worker.cli.demo.child_process import TetheredProcess
from worker.cli.demo.signals import AGAIN_S, Interrupted, Interrupts

LIMIT_S = 30.0
OWNER = """
import os, sys
from pathlib import Path
from worker.cli.demo.child_process import TetheredProcess

command = ["/bin/sh", "-c", 'exec 9>"$0"; printf x >&9; exec sleep 1000', sys.argv[1]]
TetheredProcess(command, dict(os.environ), Path(sys.argv[2])).start()
sys.stdin.read()
"""


def test_a_signal_inside_raises_and_is_the_shells_status():
    with pytest.raises(Interrupted) as caught, Interrupts() as interrupts, interrupts.raising():
        signal.raise_signal(signal.SIGTERM)

    assert caught.value.exit_status == 143


def test_a_signal_is_put_off_while_something_is_started():
    done = []

    def run():
        with Interrupts() as interrupts, interrupts.raising():
            with interrupts.held():
                signal.raise_signal(signal.SIGINT)
                done.append("started")
            done.append("went on")

    with pytest.raises(Interrupted):
        run()
    assert done == ["started"]


def test_a_second_signal_does_not_disturb_the_ending():
    done = []

    def run():
        with Interrupts() as interrupts, contextlib.ExitStack() as started, interrupts.raising():
            started.callback(done.append, "ended")
            started.callback(signal.raise_signal, signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        run()
    assert done == ["ended"]
    assert caught.value.number == signal.SIGINT


def test_a_start_that_fails_is_followed_by_an_undisturbed_ending():
    done = []

    def run():
        with Interrupts() as interrupts, contextlib.ExitStack() as started, interrupts.raising():
            started.callback(done.append, "ended")
            started.callback(signal.raise_signal, signal.SIGINT)
            with interrupts.held():
                raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        run()
    assert done == ["ended"]


def test_a_signal_during_the_ending_of_a_good_run_is_told_in_the_end():
    done = []

    def run():
        with Interrupts() as interrupts, contextlib.ExitStack() as started, interrupts.raising():
            started.callback(done.append, "ended")
            started.callback(signal.raise_signal, signal.SIGHUP)

    with pytest.raises(Interrupted):
        run()
    assert done == ["ended"]


def test_the_former_handlers_are_back_afterwards():
    before = signal.getsignal(signal.SIGINT)

    with Interrupts(), pytest.raises(ZeroDivisionError):
        1 / 0  # noqa: B018

    assert signal.getsignal(signal.SIGINT) is before


class Lifeline:
    """A named pipe that a process holds open for as long as it lives."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pipe"
        os.mkfifo(self.path)
        self._reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        """A byte as soon as the process has written one; nothing once it is dead."""
        readable, _, _ = select.select([self._reader], [], [], LIMIT_S)
        assert readable, f"the process neither wrote nor ended within {LIMIT_S} s"
        return os.read(self._reader, 1)

    def close(self) -> None:
        os.close(self._reader)


@pytest.fixture
def lifeline(tmp_path):
    lifeline = Lifeline(tmp_path)
    yield lifeline
    lifeline.close()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path, lifeline):
    # given
    script = "trap '' TERM; exec 9>\"$0\"; printf x >&9; while :; do sleep 1000; done"
    command = ["/bin/sh", "-c", script, str(lifeline.path)]
    process = TetheredProcess(command, os.environ, tmp_path / "log")
    process.start()
    assert lifeline.read() == b"x"

    process.stop(limit_s=0.1)

    assert lifeline.read() == b""


def test_what_a_process_prints_and_its_status_are_kept(tmp_path, lifeline):
    script = 'echo out; echo err >&2; exec 9>"$0"; exit 7'
    process = TetheredProcess(
        ["/bin/sh", "-c", script, str(lifeline.path)], os.environ, tmp_path / "log"
    )
    process.start()
    assert lifeline.read() == b""
    while process.exit_status is None:
        pass

    assert process.exit_status == 7
    assert process.printed == "out\nerr\n"
    process.stop(limit_s=1)


def test_a_process_ends_with_an_owner_that_is_killed(tmp_path, lifeline):
    # given
    command = [sys.executable, "-c", OWNER, str(lifeline.path), str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as owner:
        assert lifeline.read() == b"x"

        owner.kill()

    assert lifeline.read() == b""


def test_a_signal_that_falls_into_a_finalizer_is_not_lost():
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)  # Python drops what is raised here

    def run() -> None:
        with Interrupts() as interrupts, interrupts.raising():
            Finalized()
            threading.Event().wait(10)

    with pytest.raises(Interrupted) as caught:
        run()
    assert caught.value.number == signal.SIGTERM


def dropped(number: signal.Signals) -> None:
    """A signal that somebody drops, as C code does that clears whatever error it finds."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_that_is_dropped_comes_again(times: int) -> None:
    done = []

    def run() -> None:
        with Interrupts() as interrupts, interrupts.raising():
            dropped(signal.SIGTERM)
            for _ in range(times - 1):
                with contextlib.suppress(KeyboardInterrupt):
                    threading.Event().wait(10)
            threading.Event().wait(10)
            done.append("went on")

    with pytest.raises(Interrupted) as caught:
        run()
    assert caught.value.number == signal.SIGTERM
    assert done == []


def test_a_signal_that_is_dropped_is_told_at_the_end_if_that_comes_first() -> None:
    done = []

    def run() -> None:
        with Interrupts() as interrupts, contextlib.ExitStack() as started, interrupts.raising():
            started.callback(done.append, "ended")
            dropped(signal.SIGHUP)

    with pytest.raises(Interrupted) as caught:
        run()
    assert caught.value.number == signal.SIGHUP
    assert done == ["ended"]


def test_a_signal_that_was_dropped_does_not_disturb_what_is_started_then() -> None:
    done = []

    def run() -> None:
        with Interrupts() as interrupts, interrupts.raising():
            dropped(signal.SIGINT)
            with interrupts.held():
                threading.Event().wait(3 * AGAIN_S)
                done.append("started")
            done.append("went on")

    with pytest.raises(Interrupted):
        run()
    assert done == ["started"]


def test_a_signal_that_got_through_does_not_come_again() -> None:
    with pytest.raises(Interrupted), Interrupts() as interrupts, interrupts.raising():
        signal.raise_signal(signal.SIGINT)
    threading.Event().wait(3 * AGAIN_S)  # the former handler would raise KeyboardInterrupt
