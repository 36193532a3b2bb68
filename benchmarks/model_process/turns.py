"""Rounds in which workers take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.bench.progress import say
from benchmarks.bench.server import BenchError
from benchmarks.model_process.subject import Subject

AnySubject = TypeVar("AnySubject", bound=Subject)
Found = TypeVar("Found")


def in_turn(
    subjects: Sequence[AnySubject], rounds: int, measure: Callable[[AnySubject], Found]
) -> list[list[Found]]:
    """What `measure` gave for each worker, round by round; who was first is last in the next one.

    A round in which one of them fails is left out for all: the design up to 37a75cc loses a task
    now and then on a busy machine, until its time limit.

    Raises:
        BenchError: They failed in every round.
    """
    found: list[list[Found]] = [[] for _ in subjects]
    for turn in range(rounds):
        order = list(subjects) if turn % 2 == 0 else list(reversed(subjects))
        try:
            done = {subject.tree.name: measure(subject) for subject in order}
        except BenchError as error:
            say(f"    round {turn + 1} is left out: {error}")
            continue
        for subject, values in zip(subjects, found, strict=True):
            values.append(done[subject.tree.name])
    if not found[0]:
        raise BenchError(f"no round of {rounds} succeeded")
    return found
