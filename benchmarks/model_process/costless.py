"""Rounds with the image tower that costs nothing: what an image costs besides it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.bench.progress import say
from benchmarks.bench.server import BenchError, wait_until
from benchmarks.model_process.case import Case
from benchmarks.model_process.probe import Probe
from benchmarks.model_process.subject import CELERY, EVERY_S, START_LIMIT_S, Subject
from benchmarks.model_process.tree import Tree
from benchmarks.model_process.turns import in_turn

FOLDER = Path(__file__).parent / "in_worker"
COMMAND = (*CELERY, "costless_app", "worker", "--loglevel", "warning")
PROBE_PAUSE_S = 1.0  # until the probe has written what threads there are
LEAST = 256  # images a round


@dataclass(frozen=True)
class Sample:
    """One round of one worker; seconds of all its images together.

    Attributes:
        images: How many.
        seconds: Until the last result was stored.
        model_s: Processor time of the model's process.
        threads_s: The same by thread name.
        gil_s: Time under its GIL by thread name; None if it cannot be read.
        waited_s: Time in which its threads waited for a core.
        children_s: Processor time of all processes below it.
        redis_s: Processor time of Redis.
    """

    pictures: int
    seconds: float
    model_s: float
    threads_s: Mapping[str, float]
    gil_s: Mapping[str, float] | None
    waited_s: float
    children_s: float
    redis_s: float


class CostlessWorker(Subject):
    """A worker of a tree with that tower."""

    def __init__(self, tree: Tree, cache: Path, settings: Mapping[str, str]) -> None:
        super().__init__(tree, cache, COMMAND, [FOLDER], settings)

    def warm_up(self, case: Case, templates: Sequence[bytes], seconds: float) -> int:
        """Answer each message of a case at least once; how many fill a round of `seconds`."""
        least = max(LEAST // case.pictures, len(templates))
        self.run(templates, least, START_LIMIT_S)
        took_s = self.run(templates, least)
        self.probe = Probe(self.folder / "probe.json", self.program.pid)
        wait_until(
            lambda: self.probe.read().get("encoded", 0) > 0,
            self.program.check,
            every_s=EVERY_S,
            limit_s=60.0,
            what="the probe (was the image tower replaced?)",
        )
        time.sleep(PROBE_PAUSE_S)
        self._check_tree()
        return max(least, int(least * seconds / took_s))

    def measure(self, case: Case, templates: Sequence[bytes], messages: int) -> Sample:
        """One round."""
        ids = self.push(templates, messages)
        before, threads = self._processor_times(), self.probe.thread_times()
        sampler = self.probe.gil_sampler()
        with sampler or nullcontext():
            start = self.server.release()
            self.wait_for(ids)
        now, after = self._processor_times(), self.probe.thread_times()
        model_s, children_s, redis_s = (b - a for a, b in zip(before, now, strict=True))
        threads_s = {name: s - threads.cpu_s.get(name, 0.0) for name, s in after.cpu_s.items()}
        return Sample(
            pictures=messages * case.pictures,
            seconds=self.finish(ids) - start,
            model_s=model_s - threads_s.pop("probe", 0.0),
            threads_s=threads_s,
            gil_s=sampler.held_s if sampler else None,
            waited_s=after.waited_s - threads.waited_s,
            children_s=children_s,
            redis_s=redis_s,
        )

    def _processor_times(self) -> tuple[float, float, float]:
        """Seconds until now of the model's process, of those below it, of Redis."""
        process = psutil.Process(self.program.pid)
        own = process.cpu_times()
        children_s = own.children_user + own.children_system
        for child in process.children(recursive=True):
            children_s += sum(child.cpu_times()[:4])  # with those that it has waited for
        return own.user + own.system, children_s, self.server.cpu_s

    def _check_tree(self) -> None:
        root = self.probe.read()["root"]
        if Path(root) != self.tree.root:
            raise BenchError(f"{self.tree.name}: imported {root} instead of {self.tree.root}")


def rounds(
    workers: Sequence[CostlessWorker], case: Case, cache: Path, number: int, seconds: float
) -> dict[str, list[Sample]]:
    """So many rounds of a case, in which the workers take turns; samples by the tree's name."""
    say(f"  {case.title}")
    templates = case.templates(cache, workers[0].server)
    messages = {worker.tree.name: worker.warm_up(case, templates, seconds) for worker in workers}

    def measure(worker: CostlessWorker) -> Sample:
        sample = worker.measure(case, templates, messages[worker.tree.name])
        say(
            f"    {worker.tree.name}: {sample.pictures / sample.seconds:,.0f}/s, "
            f"{1e6 * sample.model_s / sample.pictures:,.0f} us of the model's process"
        )
        return sample

    found = in_turn(workers, number, measure)
    return {worker.tree.name: samples for worker, samples in zip(workers, found, strict=True)}
