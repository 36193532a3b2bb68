"""Images a second through the queue, beside the raw engine and what one would write.

For a round all messages stand in the queue at once; it ends when the last result is stored.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import rivals
from benchmarks.bench.case import MAIN, Case, chosen
from benchmarks.bench.cast import FEWEST, OURS, RAW, AnyContender, start_all
from benchmarks.bench.contender import Round, clip_worker
from benchmarks.bench.labels import own_lists
from benchmarks.bench.messages import cycled
from benchmarks.bench.pictures import make_pictures
from benchmarks.bench.progress import say
from benchmarks.bench.raw import RawEngine
from benchmarks.bench.sample import rounded
from benchmarks.bench.scale import Scale
from benchmarks.bench.server import BenchError
from benchmarks.bench.weights import Architecture, make_weights

FULL_BATCHES = 64  # a multiple of it has no half batch at the end
PROBE = 32  # tasks that tell how fast the worker is
OWN = 8  # tasks a round, at least, whose labels are all new


@dataclass(frozen=True)
class _Run:
    """What all cases of a run share.

    Attributes:
        scale: How much is measured.
        cache: Where weights and images are kept.
        fresh: Lists of labels that nobody has seen, by their length.
        end: `time.monotonic()` after which nothing more is begun; one round there is in any case.
    """

    scale: Scale
    cache: Path
    fresh: dict[int, Iterator[list[str]]]
    end: float

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end


def measure(scale: Scale, cache: Path) -> dict[str, Any]:
    """All cases of this scale, by name."""
    cases = chosen(scale.cases)
    fresh = {count: own_lists(count) for count in {case.labels for case in cases}}
    run = _Run(scale, cache, fresh, time.monotonic() + scale.end_to_end_s)
    found: dict[str, Any] = {}
    for architecture in dict.fromkeys(case.architecture for case in cases):
        if found and run.is_over:
            say(f"  {architecture.name} is left out: time is up")
            continue
        mine = [case for case in cases if case.architecture is architecture]
        found |= _with_model(run, architecture, mine)
    return found


def _with_model(run: _Run, architecture: Architecture, cases: Sequence[Case]) -> dict[str, Any]:
    weights = make_weights(architecture, run.cache)
    everybody: list[AnyContender] = [
        RawEngine(str(weights.folder)),
        clip_worker(str(weights.folder), str(run.cache)),
        *rivals.with_models(weights),
    ]
    if any(case.name == MAIN for case in cases):
        everybody.append(rivals.untuned(weights))
    with ExitStack() as stack:
        started, left_out = start_all(stack, everybody, weights, run.cache)
        found = {}
        for case in cases:
            if found and run.is_over:
                say(f"  {case.title} is left out: time is up")
                continue
            say(f"  {case.title}")
            found[case.name] = _Rounds(run, case, started).measure()
            for name, reason in left_out.items():
                found[case.name]["contenders"][name] = {"error": reason}
        return found


class _Rounds:
    """The rounds of one case, the contenders taking turns."""

    def __init__(self, run: _Run, case: Case, everybody: Sequence[AnyContender]) -> None:
        self._run = run
        self._case = case
        self._scale = run.scale
        self._images = [str(path) for path in make_pictures(case.size, run.cache / "pictures")]
        self._lists = case.lists(run.fresh)
        # Own threads or not: the main case shows it, the others would show the same.
        self._running = [c for c in everybody if case.name == MAIN or c.name != rivals.UNTUNED]
        self._found: dict[str, dict[str, Any]] = {}
        self._first: list[dict[str, float]] = []

    def measure(self) -> dict[str, Any]:
        """The case's samples; its first round is run whatever the clock says."""
        counts = self._counts()
        say("    tasks a round: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        for number in range(self._scale.rounds_of(self._case)):
            if number and self._run.is_over:
                break
            # Whoever was first is last in the next round.
            shift = number % max(1, len(self._running))
            for contender in [*self._running[shift:], *self._running[:shift]]:
                self._round(contender, counts[contender.name])
        files = [Path(image).stat().st_size for image in self._images]
        return {
            "title": self._case.title,
            "picture_bytes": sum(files) // len(files),
            "pictures": len(files),
            "contenders": self._found,
        }

    def _tasks(self, count: int) -> list[tuple[str, list[str]]]:
        return cycled(self._images, self._lists, count)

    def _counts(self) -> dict[str, int]:
        """Tasks a round of each, found by a round that warms up and encodes the labels."""
        counts = {}
        for contender in list(self._running):
            if contender.name in (RAW, OURS):
                self._try(contender, FEWEST)
            else:
                counts[contender.name] = self._scale.slow_tasks[contender.name]
                if self._case.heavy:
                    counts[contender.name] = max(FEWEST, counts[contender.name] // 2)
                if self._case.slow:  # a minute an image: their models were loaded for other cases
                    counts[contender.name] = FEWEST
                else:
                    self._try(contender, FEWEST)
        return counts | dict.fromkeys((RAW, OURS), self._fast_count())

    def _fast_count(self) -> int:
        """The same for engine and worker: as many as take the time aimed at, in full batches."""
        ours = next((one for one in self._running if one.name == OURS), None)
        probe = FEWEST if self._case.own else PROBE
        warm = self._try(ours, probe) if ours else None
        if warm is None:
            return probe
        count = round(warm.tasks / warm.seconds * self._scale.seconds)
        batches = max(1, math.ceil(count / FULL_BATCHES))
        return max(OWN, count) if self._case.own else batches * FULL_BATCHES

    def _round(self, contender: AnyContender, count: int) -> None:
        done = self._try(contender, count)
        if done is None:
            return
        say(f"    {contender.name}: {done.tasks} in {done.seconds:.2f} s")
        found = self._found.setdefault(
            contender.name, {"tasks": count, "seconds": [], "cpu_s": [], "redis_cpu_s": []}
        )
        found["seconds"] += rounded([done.seconds], 4)
        found["cpu_s"] += rounded([done.cpu_s], 3)
        found["redis_cpu_s"] += rounded([done.redis_cpu_s], 4)
        if not self._case.own:
            self._first = self._first or done.answers
            found["differs_by"] = max(found.get("differs_by", 0), self._difference(done))

    def _difference(self, done: Round) -> float:
        """Largest difference of the best label's probability to the first contender's answers."""
        pairs = zip(self._first, done.answers, strict=False)
        differences = [
            abs(
                mine[max(mine, key=mine.__getitem__)]
                - other.get(max(mine, key=mine.__getitem__), 0)
            )
            for mine, other in itertools.islice(pairs, len(self._images))
        ]
        return float(f"{max(differences):.2g}")

    def _try(self, contender: AnyContender, count: int) -> Round | None:
        """A round; a contender that fails is left out from then on, and its error kept."""
        if contender not in self._running:
            return None
        try:
            return contender.run(self._tasks(count))
        except (BenchError, OSError) as error:
            say(f"    {contender.name} failed: {error}")
            self._running.remove(contender)
            self._found[contender.name] = {"error": str(error)[:500]}
            return None
