"""What the supervisor of several workers does, with workers, signals and time that are made up."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from support.supervised_workers import Machine

from worker.cli.supervisor.restarts import STEADY_S, Restarts, exit_status, reason

TERM, INT, QUIT, HUP, KILL = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGKILL,
)


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
    assert machine.numbers == [1, 2, 3]
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
    assert machine.numbers == [1, 2, 2, 2]
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
