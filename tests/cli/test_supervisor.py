"""What the supervisor of several workers does, with workers, signals and time that are made up."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from support.fake_clock import FakeClock

from worker.cli.supervisor.readiness import ReadyPipe, is_supervised, ready_sender
from worker.cli.supervisor.restarts import STEADY_S, Restarts, exit_status, reason
from worker.cli.supervisor.supervisor import Supervisor
from worker.cli.supervisor.worker import worker_command

TERM, INT, QUIT, HUP, KILL = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGKILL,
)


@dataclass
class FakeWorker:
    pid: int
    code: int | None = None
    is_ready: bool = False
    has_sent: bool = False
    is_closed: bool = False
    signals: list[int] = field(default_factory=list)

    @property
    def descriptors(self) -> list[int]:
        return [] if self.is_ready else [self.pid]

    def read(self) -> None:
        self.is_ready = self.has_sent

    def returncode(self) -> int | None:
        return self.code

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def close(self) -> None:
        self.is_closed = True


class Machine:
    """Workers in the order in which they were started, and what happens to them step by step."""

    def __init__(self, count: int, *, has_terminal: bool = False) -> None:
        self.started: list[FakeWorker] = []
        self.said: list[str] = []
        self.clock = FakeClock()
        self.supervisor = Supervisor(
            count,
            start=self._start,
            say=self.said.append,
            wait=self._wait,
            clock=self.clock,
            has_terminal=has_terminal,
        )
        self._steps: list[Callable[[], int | None]] = []
        self._pause_s: float | None = None

    def run(self, *steps: Callable[[], int | None]) -> int:
        """The exit status, after these steps; fails where the supervisor ends before or later."""
        self._steps = list(steps)
        status = self.supervisor.run()
        assert not self._steps
        assert all(worker.is_closed for worker in self.started)
        return status

    def _start(self) -> FakeWorker:
        self.started.append(FakeWorker(len(self.started)))
        return self.started[-1]

    def _wait(self, descriptors, timeout_s):
        self._pause_s = timeout_s
        number = self._steps.pop(0)()
        sent = [worker.pid for worker in self.started if worker.has_sent]
        return [number] if number else [], [each for each in descriptors if each in sent]

    # --- steps ---

    def ready(self, *indices: int) -> Callable[[], None]:
        def step() -> None:
            for index in indices:
                self.started[index].has_sent = True

        return step

    def ends(self, *codes: tuple[int, int]) -> Callable[[], None]:
        def step() -> None:
            for index, code in codes:
                self.started[index].code = code

        return step

    def pause(self, expected_s: float) -> Callable[[], None]:
        def step() -> None:
            assert self._pause_s == expected_s
            self.clock.now_s += expected_s

        return step

    def passes(self, seconds: float) -> Callable[[], None]:
        def step() -> None:
            self.clock.now_s += seconds

        return step

    def signal(self, number: int) -> Callable[[], int]:
        return lambda: number

    def check(self, started: int) -> Callable[[], None]:
        def step() -> None:
            assert len(self.started) == started

        return step


def test_the_others_start_once_the_first_is_ready_and_a_sigterm_ends_all():
    machine = Machine(3)

    status = machine.run(
        machine.check(1),
        machine.ready(0),
        machine.check(3),
        machine.ready(1, 2),
        machine.signal(TERM),
        machine.ends((0, 0), (2, 0)),
        machine.ends((1, 0)),
    )

    assert status == 0
    assert [worker.signals for worker in machine.started] == [[TERM]] * 3
    assert machine.said == []


def up(machine: Machine, count: int = 2) -> list[Callable[[], int | None]]:
    """Steps after which all workers are ready."""
    return [machine.ready(0), machine.ready(*range(1, count))]


def down(machine: Machine, *indices: int) -> list[Callable[[], int | None]]:
    """Steps that end these workers, the last ones, in order."""
    return [machine.signal(TERM), machine.ends(*((index, 0) for index in indices))]


def test_a_worker_that_is_killed_is_started_again_and_the_reason_is_said():
    machine = Machine(2)

    status = machine.run(
        *up(machine),
        machine.passes(STEADY_S - 1),
        machine.ends((1, -KILL)),
        machine.pause(1.0),
        machine.check(3),
        machine.ready(2),
        machine.passes(STEADY_S),
        machine.ends((2, 71)),
        machine.check(4),
        *down(machine, 0, 3),
    )

    assert status == 0
    killed, lost = machine.said
    assert killed.startswith("Worker 2 (process 1) was killed by SIGKILL, as when memory runs out")
    assert killed.endswith("; it is started again in 1 s.")
    assert "ended itself because its device failed (exit status 71)" in lost
    assert lost.endswith("; it is started again now.")


def test_the_pause_doubles_with_quick_failures_up_to_a_minute_and_resets():
    restarts, pauses = Restarts(), []
    for _ in range(9):
        restarts.count(ready=True, ran_s=STEADY_S - 1)
        pauses.append(restarts.pause_s)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    restarts.count(ready=False, ran_s=STEADY_S)  # a long time to load is no time served
    assert restarts.pause_s == 60
    restarts.count(ready=True, ran_s=STEADY_S)
    assert restarts.pause_s == 0


def test_a_first_worker_that_can_t_start_ends_all_with_its_status():
    machine = Machine(3)

    assert machine.run(machine.ends((0, 1))) == 1

    assert machine.said == [
        "Worker 1 (process 0) exited with status 1 before it was ready; it is not started again."
    ]


def test_wrong_settings_end_all_whoever_finds_them():
    machine = Machine(2)

    status = machine.run(*up(machine), machine.ends((1, 2)), machine.ends((0, 0)))

    assert status == 2
    assert machine.started[0].signals == [TERM]
    assert "all other workers are stopped" in machine.said[0]


def test_a_worker_that_never_becomes_ready_ends_all_at_the_third_time():
    machine = Machine(2)

    status = machine.run(
        machine.ready(0),
        machine.ends((1, 1)),
        machine.pause(1.0),
        machine.ends((2, -signal.SIGSEGV)),
        machine.pause(2.0),
        machine.ends((3, 1)),
        machine.ends((0, 0)),
    )

    assert status == 1
    assert [line.partition("; ")[0] for line in machine.said] == [
        "Worker 2 (process 1) exited with status 1",
        "Worker 2 (process 2) was killed by SIGSEGV",
        "Worker 2 (process 3) exited with status 1 before it was ready",
    ]


def test_one_that_served_once_is_tried_for_as_long_as_others_serve():
    machine = Machine(2)

    status = machine.run(
        *up(machine),
        machine.passes(STEADY_S),
        machine.ends((1, 71)),
        *(
            step
            for index, pause_s in enumerate([1, 2, 4, 8], start=2)
            for step in (machine.ends((index, 1)), machine.pause(pause_s))
        ),
        machine.ends((0, -KILL)),
        machine.ends((7, 1)),
        machine.pause(1),
        machine.ends((8, 1)),
        machine.pause(2),
        machine.ends((9, 1)),
        machine.ends((6, 0)),
    )

    # until no other served any more
    assert status == 1
    assert "Worker 1 (process 9) exited with status 1 before it was ready" in machine.said[-1]


@pytest.mark.parametrize("second", [TERM, INT, QUIT])
def test_a_second_signal_hurries_the_workers(second):
    machine = Machine(2)

    status = machine.run(
        *up(machine),
        machine.signal(INT),
        machine.signal(second),
        machine.signal(second),
        machine.ends((0, 1), (1, 1)),
    )

    assert status == 1
    assert [worker.signals for worker in machine.started] == [[INT, QUIT, QUIT]] * 2


def test_nothing_is_started_once_a_signal_came():
    machine = Machine(2)

    status = machine.run(
        *up(machine),
        machine.ends((1, -KILL)),
        machine.signal(TERM),
        machine.passes(STEADY_S),
        machine.ends((0, 0)),
    )

    assert status == 0
    assert len(machine.started) == 2


def test_a_worker_that_a_sigterm_ended_while_it_was_starting_ended_in_order():
    machine = Machine(2)

    assert machine.run(machine.signal(TERM), machine.ends((0, -TERM))) == 0


@pytest.mark.parametrize(("code", "status"), [(130, 130), (-INT, 130), (1, 1), (-KILL, 137)])
def test_the_status_is_the_worst_of_the_workers(code, status):
    machine = Machine(2)

    assert machine.run(*up(machine), machine.signal(INT), machine.ends((0, 0), (1, code))) == status


def test_a_hangup_is_passed_on_and_stops_nothing_without_a_terminal():
    machine = Machine(2)

    status = machine.run(*up(machine), machine.signal(HUP), *down(machine, 0, 1))

    assert status == 0
    assert [worker.signals for worker in machine.started] == [[HUP, TERM]] * 2


def test_the_end_of_the_terminal_stops_all_however_often_it_is_said():
    machine = Machine(2, has_terminal=True)

    status = machine.run(
        *up(machine), machine.signal(HUP), machine.signal(HUP), machine.ends((0, 129), (1, 129))
    )

    assert status == 129
    assert [worker.signals for worker in machine.started] == [[HUP]] * 2


def test_an_end_is_described_and_becomes_the_status_that_a_shell_shows():
    assert reason(70) == "ended itself because a forward pass hung (exit status 70)"
    assert [exit_status(code) for code in (0, 71, -KILL)] == [0, 71, 137]


# --- the parts that are not made up ---


def test_a_worker_says_once_that_it_is_ready_and_stays_supervised():
    # given a descriptor as a child would inherit it
    pipe = ReadyPipe()
    environment = {"_CLIP_WORKER_SUPERVISED": str(pipe.theirs)}
    pipe.read()
    assert (pipe.is_ready, len(pipe.descriptors)) == (False, 1)

    ready_sender(environment)()
    pipe.read()

    assert (pipe.is_ready, pipe.descriptors) == (True, [])
    # then its program may run anew
    assert is_supervised(environment)
    ready_sender(environment)()


def test_a_worker_without_a_supervisor_tells_nobody():
    environment: dict[str, str] = {}
    ready_sender(environment)()
    assert not is_supervised(environment)


def test_a_worker_that_ends_before_it_is_ready_closes_the_pipe():
    pipe = ReadyPipe()
    os.close(pipe.theirs)
    pipe.read()
    assert (pipe.is_ready, pipe.descriptors) == (False, [])


@pytest.mark.parametrize(
    ("whole", "arguments", "program"),
    [
        (["python", "/bin/clip-worker", "start", "--workers", "2"], 3, ["/bin/clip-worker"]),
        (
            ["python", "-X", "dev", "-m", "worker.cli", "start"],
            1,
            ["-X", "dev", "-m", "worker.cli"],
        ),
        (["python", "-m", "pytest"], 0, ["-m", "pytest"]),
    ],
)
def test_a_worker_runs_the_same_program_with_the_same_interpreter(
    monkeypatch, whole, arguments, program
):
    monkeypatch.setattr(sys, "orig_argv", whole)
    monkeypatch.setattr(sys, "argv", ["program", *whole[len(whole) - arguments :]])
    assert worker_command() == [sys.executable, *program, "start"]


def test_a_worker_of_another_program_runs_the_module(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "..."])
    monkeypatch.setattr(sys, "argv", ["-c", "start"])
    assert worker_command() == [sys.executable, "-m", "worker.cli", "start"]
