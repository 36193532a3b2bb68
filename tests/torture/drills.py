"""Single faults, many times: kill -9, and SIGTERM, on ours and on what it is compared with."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass

from torture.rig import LIMIT_S, Rig, Subject, rig
from torture.supervisor import Life


@dataclass(frozen=True)
class Recovery:
    """What kills of one of two workers cost.

    Attributes:
        seconds: From each kill until all that the killed one had in flight was begun again.
        first_s: Until the first of it was.
        in_flight: How much that was.
        never: Kills after which that did not happen within the limit.
        needless: Tasks that were begun again although their first worker was not killed.
        unfinished: Tasks without a result at the end.
    """

    seconds: list[float]
    first_s: list[float]
    in_flight: list[int]
    never: int
    needless: int
    unfinished: int


def recovery(
    subject: Subject, kills: int, *, tasks: int = 24, limit_s: float = LIMIT_S
) -> Recovery:
    """Kill one of two busy workers, again and again, and wait until its tasks run elsewhere."""
    seconds: list[float] = []
    first_s: list[float] = []
    counts: list[int] = []
    never = 0
    killed: set[int] = set()
    with rig(subject, workers=2) as drill:
        for _ in range(kills):
            drill.supervisor.wait_until_ready()
            sent = set(drill.messages.send(tasks))
            victim = _busiest(drill, sent)
            if victim is None:
                raise RuntimeError(f"no worker of {subject.name!r} began any of {tasks} tasks")
            killed.add(victim.pid)
            drill.supervisor.end(victim, signal.SIGSTOP, "kill")  # nothing moves while we look
            in_flight = _in_flight(drill, sent, victim)
            if not in_flight:
                raise RuntimeError(f"the worker {victim.pid} had nothing in flight any more")
            counts.append(len(in_flight))
            start = time.monotonic()
            victim.kill_all()
            if drill.wait(lambda: _begun_again(drill, in_flight, victim), limit_s):  # noqa: B023
                begins = _begins(drill, in_flight, victim)
                seconds.append(max(begins) - start)
                first_s.append(min(begins) - start)
                drill.wait_until_done()
            else:
                never += 1
        needless = sum(
            any(life.pid not in killed for _, life in runs[:-1]) for runs in drill.runs().values()
        )
        unfinished = len(drill.messages.numbers) - len(drill.messages.done())
    return Recovery(seconds, first_s, counts, never, needless, unfinished)


def _busiest(drill: Rig, sent: set[int]) -> Life | None:
    """The worker that has begun the most, once all is taken or a moment has passed."""
    drill.wait(lambda: not sent.isdisjoint(drill.runs()), limit_s=10.0)
    drill.wait(lambda: drill.messages.waiting == 0, limit_s=1.0)
    runs = drill.runs()
    counts = {
        life.pid: sum(runs[n][-1][1] is life for n in sent if n in runs)
        for life in drill.supervisor.current
    }
    best = max(drill.supervisor.current, key=lambda life: counts[life.pid])
    return best if counts[best.pid] else None


def _in_flight(drill: Rig, sent: set[int], victim: Life) -> set[int]:
    """What only the victim can have: not done, not begun by another, not in the queue."""
    others = {n for n, runs in drill.runs().items() if any(life is not victim for _, life in runs)}
    return sent - drill.messages.done() - others - drill.messages.queued()


def _begun_again(drill: Rig, in_flight: set[int], victim: Life) -> bool:
    runs = drill.runs()
    return all(any(life is not victim for _, life in runs.get(n, ())) for n in in_flight)


def _begins(drill: Rig, in_flight: set[int], victim: Life) -> list[float]:
    """When each was begun by another."""
    runs = drill.runs()
    return [next(at_s for at_s, life in runs[n] if life is not victim) for n in in_flight]


@dataclass(frozen=True)
class Losses:
    """What kills of a busy worker lost.

    Attributes:
        lost: Messages that are in no queue, not in flight and without a result.
        begun: Tasks that were begun in all.
    """

    kills: int
    lost: int
    begun: int


def losses(
    subject: Subject, kills: int, seed: int, *, delay_s: float = 0.0, backlog: int = 5000
) -> Losses:
    """Kill a busy worker at random moments, and count what is nowhere afterwards."""
    rng = random.Random(seed)
    with rig(subject, workers=1, delay_s=delay_s) as drill:
        for _ in range(kills):
            if drill.messages.waiting < backlog // 2:
                drill.messages.send(backlog)
            life = drill.wait_until_busy()
            time.sleep(rng.uniform(0.0, 0.2))
            drill.supervisor.end(life, 0, "kill")
            life.kill_all()
            drill.wait(lambda: not life.running)  # noqa: B023
        drill.supervisor.let_end()
        for life in drill.supervisor.current:
            life.kill_all()
        if drill.supervisor.wait_for_ends():
            raise RuntimeError("a worker outlived its kill")
        return Losses(kills, len(drill.messages.lost()), len(drill.runs()))


@dataclass(frozen=True)
class Stops:
    """What clean stops under load cost.

    Attributes:
        redelivered: Tasks that were begun more than once.
        left: Messages in flight in a stopped worker.
        unfinished: Tasks without a result at the end.
        seconds: From each SIGTERM to the process's end.
        wrong_ends: Exit statuses other than 0.
    """

    redelivered: int
    left: int
    unfinished: int
    seconds: list[float]
    wrong_ends: int


def stops(subject: Subject, rounds: int, *, tasks: int = 2000, load_s: float = 1.0) -> Stops:
    """Stop a busy worker by SIGTERM, again and again; at the end let the last one finish."""
    seconds: list[float] = []
    left = wrong = 0
    with rig(subject, workers=1) as drill:
        for _ in range(rounds):
            if drill.messages.waiting < tasks:  # as many always wait: no stop is an idle one
                drill.messages.send(tasks)
            life = drill.wait_until_busy()
            time.sleep(load_s)
            start = time.monotonic()
            drill.supervisor.end(life, signal.SIGTERM, "term")
            drill.wait(lambda: not life.running)  # noqa: B023
            seconds.append((life.ended_s or time.monotonic()) - start)
            wrong += life.status != 0
        drill.wait_until_done()
        left = len(drill.messages.unacknowledged())
        unfinished = len(drill.messages.numbers) - len(drill.messages.done())
        return Stops(len(drill.repeated()), left, unfinished, seconds, wrong)


def slow_repeats(subject: Subject, tasks: int) -> int:
    """Tasks begun more than once where each takes longer than its lease, and nobody is killed."""
    with rig(subject, workers=2) as drill:
        drill.messages.send(tasks)
        if not drill.wait_until_done(300):
            raise RuntimeError(f"{subject.name!r} did not finish {tasks} tasks")
        return len(drill.repeated())
