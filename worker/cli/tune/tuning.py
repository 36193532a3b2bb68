"""Measures configurations, as many as the time suffices for, and keeps what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from statistics import median
from typing import Self

import numpy as np
from numpy.typing import NDArray

from worker.cli.tune.agreement import agreement
from worker.cli.tune.configuration import Configuration
from worker.cli.tune.measurement import Measurement
from worker.cli.tune.search import REFERENCE
from worker.cli.tune.subject import LIMIT_S, Subject, SubjectError, Task
from worker.variables import ENV_PREFIX

USUAL_S = 300.0
TURNS = 5
ROUNDS = 3
_SPARE = 1.5  # a turn takes longer than its measured time: the queue fills, then empties


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything takes, in seconds.

    Attributes:
        total_s: All of it, about.
        round_s: A round with a full queue.
        latency_s: Single images.
        collect_s: The pass over the sample, which is cut if it takes longer.
        turn_s: A round of the last comparison.
    """

    total_s: float
    round_s: float
    latency_s: float
    collect_s: float
    turn_s: float

    @classmethod
    def within(cls, total_s: float) -> Self:
        """Everything in proportion, within limits.

        >>> Plan.within(300.0).round_s, Plan.within(60.0).round_s
        (2.0, 0.5)
        """
        part = total_s / USUAL_S
        return cls(
            total_s,
            round_s=min(max(2 * part, 0.5), 10),
            latency_s=min(max(2 * part, 0.5), 10),
            collect_s=min(max(8 * part, 2), 60),
            turn_s=min(max(3 * part, 1), 15),
        )


class Tuning:
    """One run.

    Args:
        task: What is measured.
        plan: For how long.
        base: What the settings as they are are called.
        progress: Called with what is measured next, and the seconds that have passed.
        held: Delays the interruption of its block.
        clock: Seconds, monotonic.

    Attributes:
        measured: In the order of time.
        untried: What the time did not suffice for.
        failed: By the URI of an image of the sample that can't be read: why not.
        trouble: Why the last comparison failed, in sentences; empty if it didn't.
    """

    def __init__(  # noqa: PLR0913  # three of them come from the terminal
        self,
        task: Task,
        plan: Plan,
        *,
        base: str,
        progress: Callable[[str, float], None],
        held: Callable[[], AbstractContextManager[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.measured: list[Measurement] = []
        self.untried: list[Configuration] = []
        self.failed: dict[str, str] = {}
        self.trouble = ""
        self._task = task
        self._plan = plan
        self._base = base
        self._progress = progress
        self._held = held
        self._clock = clock
        self._began_s = clock()
        self._durations_s: list[float] = []
        self._starts_s: list[float] = []
        self._count = len(task.images)
        self._reference: NDArray[np.float32] | None = None

    def first(self) -> Measurement:
        """The settings as they are, and the reference.

        Raises:
            SubjectError: They can't be measured.
        """
        found, probabilities = self._measure(Configuration())
        if found.failure:
            raise SubjectError(found.failure)
        assert found.facts
        device = {f"{ENV_PREFIX}DEVICE": found.facts.same_device}
        self._task = replace(self._task, environment={**self._task.environment, **device})
        if found.facts.precision == REFERENCE:
            self._reference = probabilities
        else:
            reference, self._reference = self._measure(Configuration(precision=REFERENCE))
            self._keep(reference, self._reference)
        return self._keep(found, probabilities, place=0)

    def measure(self, configuration: Configuration) -> Measurement | None:
        """Measure a configuration, or give what was measured; None if the time is over."""
        for known in self.measured:
            if known.configuration == configuration:
                return known
        if not self._has_time():
            self.untried.append(configuration)
            return None
        return self._keep(*self._measure(configuration))

    def in_turns(
        self, configurations: Sequence[Configuration]
    ) -> Mapping[Configuration, tuple[float, ...]]:
        """Images a second of each in every turn, all of them running side by side but in turns.

        Raises:
            SubjectError: One of them can't be measured.
        """
        rates: dict[Configuration, list[float]] = {each: [] for each in configurations}
        with ExitStack() as stack:
            subjects = []
            for each in configurations:
                self._say(f"starting again: {each.named(self._base)}")
                subjects.append(stack.enter_context(Subject(self._task, each)))
                with self._held():
                    subjects[-1].start()
                subjects[-1].wait_until_ready()
            for turn in range(TURNS):
                for subject in subjects if turn % 2 else subjects[::-1]:
                    self._say(
                        f"turn {turn + 1} of {TURNS}: {subject.configuration.named(self._base)}"
                    )
                    found = subject.round(self._plan.turn_s)
                    rates[subject.configuration].append(found.images_per_s)
        return {each: tuple(found) for each, found in rates.items()}

    def _has_time(self) -> bool:
        """Whether one more suits the plan: afterwards come two starts, and the turns.

        A first one to compare with is measured in any case, as long as there is any time left.
        """
        left_s = self._plan.total_s - (self._clock() - self._began_s)
        if len(self.measured) == 1:
            return left_s > 0
        final_s = 2 * median(self._starts_s) + 2 * TURNS * self._plan.turn_s * _SPARE
        return left_s > median(self._durations_s) + final_s

    def _measure(
        self, configuration: Configuration
    ) -> tuple[Measurement, NDArray[np.float32] | None]:
        began_s = self._clock()
        self._say(f"measuring {configuration.named(self._base)}")
        found, probabilities = Measurement(configuration), None
        try:
            with Subject(self._task, configuration) as subject:
                with self._held():
                    subject.start()
                found = replace(found, facts=subject.wait_until_ready())
                self._starts_s.append(self._clock() - began_s)
                probabilities = self._collect(subject)
                found = replace(found, latencies_s=subject.latency(self._plan.latency_s))
                rounds = [subject.round(self._plan.round_s) for _ in range(ROUNDS)]
                found = replace(found, rounds=tuple(rounds))
        except SubjectError as error:
            found = replace(found, failure=str(error))
        self._durations_s.append(self._clock() - began_s)
        return found, probabilities

    def _collect(self, subject: Subject) -> NDArray[np.float32] | None:
        """Probabilities of the sample, which the first time is cut to what the time suffices for.

        Images that can't be read are left out from then on.
        """
        is_first, images = not self._durations_s, self._task.images
        seconds = self._plan.collect_s if is_first else LIMIT_S
        found, probabilities = subject.collect(seconds, self._count)
        reasons = {images[index]: reason for index, reason in found.failed.items()}
        if reasons and not is_first:
            raise SubjectError(f"An image was readable only once: {next(iter(reasons.values()))}")
        if is_first:
            self.failed = reasons
            self._count = found.count - len(reasons)
            if not self._count:
                raise SubjectError("None of the images can be read.")
            kept = tuple(image for image in images if image not in reasons)
            self._task = replace(self._task, images=kept)
        return probabilities

    def _keep(
        self,
        found: Measurement,
        probabilities: NDArray[np.float32] | None,
        place: int | None = None,
    ) -> Measurement:
        if not found.failure and self._reference is not None and probabilities is not None:
            found = replace(found, agreement=agreement(self._reference, probabilities))
        self.measured.insert(len(self.measured) if place is None else place, found)
        return found

    def _say(self, what: str) -> None:
        self._progress(what, self._clock() - self._began_s)
