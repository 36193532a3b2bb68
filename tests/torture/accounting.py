"""What came of it: runs, repeats and final states, from journals, deaths and stored results.

Pure functions of what was written down, so that they can be tested: an account that is silently
wrong would show a worker that is silently wrong as sound.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torture.chaos import KILL, PARTITION, RESTART, STOP, TERM, Event
from torture.journal import RUN
from torture.monitor import FinalState
from torture.supervisor import Life
from torture.workload import POISON, Expected, Job

BATCH = 64  # of a worker on a CPU
TOLERANCE = 1e-3  # of a probability
WAKING_S = 5.0  # after a stop: a batch that was about to run has run by then, on a busy machine
CLOCK_S = 0.2  # the harness notes the end of a stop a moment before or after it happens
BY_ITSELF, NO_REASON = "ended by itself", "no reason"
# Why a run may have to be repeated, the strongest reason first.
REASONS = (KILL, BY_ITSELF, STOP, PARTITION, RESTART, TERM)


@dataclass(frozen=True)
class Account:
    """The whole run, reduced to what the rules speak of. Numbers are tasks' numbers.

    Attributes:
        lost: Without a final state.
        wrong: With one that is not the right one.
        changed: With two different ones, one after the other.
        stored_again: With the same one more than once.
        repeated: Run more than once, poison left out, by the reason why.
        in_flight: At each kind of disturbance, run and without a stored result at that moment.
        woken: How many of the repeated a process was about to run when it was stopped.
        own_ends: Lives that ended although nobody ended them.
    """

    lost: list[int]
    wrong: list[int]
    changed: list[int]
    stored_again: list[int]
    repeated: dict[str, set[int]]
    in_flight: dict[str, int]
    woken: int
    own_ends: list[Life]

    @property
    def repeated_tasks(self) -> set[int]:
        return set().union(*self.repeated.values())

    @property
    def in_flight_at_kills(self) -> int:
        """At kill -9 of the harness, and at stops.

        Who stands still for longer than the lease counts as killed: nobody can tell the two apart.
        """
        return sum(self.in_flight.get(reason, 0) for reason in (KILL, STOP)) + self.woken


class Disturbance(NamedTuple):
    """What happened to a life, and from when until when."""

    reason: str
    from_s: float
    until_s: float


@dataclass(frozen=True)
class Evidence:
    """What was written down during the run.

    Attributes:
        states: Of each task, in the order in which they were heard.
        stored: What the result store holds at the end.
        runners: Tasks that a worker's batches may be about to run at a time.
    """

    jobs: Sequence[Job]
    states: Mapping[int, Sequence[FinalState]]
    stored: Mapping[int, FinalState]
    lives: Sequence[Life]
    events: Sequence[Event]
    runners: int = BATCH * (os.cpu_count() or 1)
    poison: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        poison = (job.mark.number for job in self.jobs if job.mark.kind in POISON)
        object.__setattr__(self, "poison", frozenset(poison))


def account(evidence: Evidence) -> Account:
    """Draw up the account."""
    numbers = [job.mark.number for job in evidence.jobs]
    wrong = [
        job.mark.number
        for job in evidence.jobs
        if (stored := evidence.stored.get(job.mark.number)) and not is_right(stored, job.expected)
    ]
    heard = {number: evidence.states.get(number, ()) for number in numbers}
    several = {number for number, states in heard.items() if len(states) > 1}
    changed = {n for n in several if len({(s.state, s.answer) for s in heard[n]}) > 1}
    repeated, woken = repeats(evidence)
    return Account(
        lost=[number for number in numbers if number not in evidence.stored],
        wrong=wrong,
        changed=sorted(changed),
        stored_again=sorted(several - changed),
        repeated=repeated,
        in_flight=in_flight_by_reason(evidence),
        woken=woken,
        own_ends=[life for life in evidence.lives if death(life) == BY_ITSELF],
    )


def is_right(final: FinalState, expected: Expected) -> bool:
    """Whether a final state is the expected one."""
    if final.state != expected.state:
        return False
    if expected.state == "SUCCESS":
        near = abs(final.probability - expected.probability) < TOLERANCE
        return near and final.answer == expected.answer
    return final.answer.startswith(expected.answer)


def death(life: Life) -> str | None:
    """Why a life ended: `KILL`, `TERM`, `BY_ITSELF`; None while it goes on."""
    if life.running:
        return None
    if life.cause in ("kill", "help"):
        return KILL
    # Before the worker has its handlers SIGTERM ends it as it ends any program; it holds nothing.
    early = life.status == -signal.SIGTERM and life.ready_s is None
    if life.cause == "term" and (life.status == 0 or early):
        return TERM
    return BY_ITSELF


def in_flight(
    life: Life, what: Disturbance, states: Mapping[int, Sequence[FinalState]]
) -> set[int]:
    """Tasks that this process had begun before its end, and whose result was not stored before it.

    A signal arrives a moment after the harness noted that it sends it. What the process began in
    between, or in a partition, is in flight too.
    """
    begun = {
        entry.number
        for entry in life.journal.read()
        if entry.what == RUN and entry.at_s < what.until_s
    }
    return {n for n in begun if not any(state.at_s <= what.from_s for state in states.get(n, ()))}


def in_flight_by_reason(evidence: Evidence) -> dict[str, int]:
    """How many tasks were in flight at each kind of disturbance, poison left out."""
    counts: dict[str, int] = defaultdict(int)
    for life in evidence.lives:
        for what in disturbances(life, evidence):
            counts[what.reason] += len(in_flight(life, what, evidence.states) - evidence.poison)
    return dict(counts)


def disturbances(life: Life, evidence: Evidence) -> list[Disturbance]:
    """What happened to a life; its end is the last."""
    happened = [
        Disturbance(event.kind, event.at_s, event.until_s)
        for event in evidence.events
        if event.kind in (STOP, PARTITION, RESTART)
        and event.pid in (0, life.pid)
        and life.started_s < event.at_s < (life.ended_s or float("inf"))
    ]
    if (why := death(life)) and life.ended_s is not None:
        happened.append(Disturbance(why, life.ended_s, life.ended_s))
    return happened


def repeats(evidence: Evidence) -> tuple[dict[str, set[int]], int]:
    """The tasks that were run more than once, poison left out, by the reason of each repeat.

    And how many of them a process was about to run when it was stopped.
    """
    runs: dict[int, list[tuple[float, Life]]] = defaultdict(list)
    for life in evidence.lives:
        for entry in life.journal.read():
            if entry.what == RUN and entry.number not in evidence.poison:
                runs[entry.number].append((entry.at_s, life))
    found: dict[str, set[int]] = defaultdict(set)
    woken: dict[Event, set[int]] = defaultdict(set)
    for number, times in runs.items():
        times.sort(key=lambda run: run[0])
        for (first_s, first), (again_s, again) in itertools.pairwise(times):
            reason = _reason(number, first, again_s, evidence)
            stop = woke_up(again, first_s, again_s, evidence.events)
            stop = stop or ran_on_waking(number, first, first_s, again_s, evidence)
            if reason == NO_REASON and stop:
                woken[stop].add(number)
            else:  # who woke up may as well have taken over what a dead worker left
                found[reason].add(number)
    known = found[STOP].copy()
    for numbers in woken.values():
        about_to = sorted(numbers)
        found[STOP].update(about_to[: evidence.runners])
        found[NO_REASON].update(about_to[evidence.runners :])
    by_reason = {reason: numbers for reason, numbers in found.items() if numbers}
    return by_reason, len(found[STOP] - known)


def woke_up(again: Life, first_s: float, again_s: float, events: Sequence[Event]) -> Event | None:
    """The stop from which a process woke that was just about to run what others ran meanwhile.

    It had made sure that the tasks were its own, and then it was stopped. That may happen to a
    batch of each of its runners, and to no more.
    """
    stops = (
        event for event in events
        if _woke_from(event, again, again_s) and event.at_s < first_s < event.until_s
    )  # fmt: skip
    return next(stops, None)


def ran_on_waking(
    number: int, first: Life, first_s: float, again_s: float, evidence: Evidence
) -> Event | None:
    """The stop from which a process woke that ran at once what it had lost meanwhile.

    As `woke_up`, but nobody had run the task before: its message was back in the queue by then, so
    that the first run's result was refused, and the next run is the one that counts.
    """
    if any(first_s <= state.at_s <= again_s for state in evidence.states.get(number, ())):
        return None
    return next((event for event in evidence.events if _woke_from(event, first, first_s)), None)


def _woke_from(event: Event, life: Life, at_s: float) -> bool:
    """Whether a process had just woken from a stop."""
    mine = event.kind == STOP and event.pid == life.pid
    return mine and event.until_s - CLOCK_S < at_s < event.until_s + WAKING_S


def _reason(number: int, life: Life, again_s: float, evidence: Evidence) -> str:
    """The strongest reason why a life did not end a task's run before it was run again."""
    happened = {
        what.reason
        for what in disturbances(life, evidence)
        if what.from_s < again_s and number in in_flight(life, what, evidence.states)
    }
    return next((reason for reason in REASONS if reason in happened), NO_REASON)
