"""Workers on one Redis, and rounds of work for them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from types import TracebackType
from typing import Any, Self

import psutil

from benchmarks.bench.contender import done_at
from benchmarks.bench.program import Program
from benchmarks.bench.server import BenchError, Server, wait_until
from benchmarks.gpu.device import cores
from benchmarks.gpu.gpu_use import GpuUse
from clip_worker import Client

START = ("-m", "worker.cli", "start")
READY = " is ready on "  # in what a worker prints when its model is loaded
EVERY_S = 0.05
START_LIMIT_S = 90.0
ROUND_LIMIT_S = 60.0
FULL = 0.85  # use from which a part counts as what binds


@dataclass(frozen=True)
class Round:
    """One round; processor times are of all its images together, in seconds.

    Attributes:
        images: How many.
        seconds: From the messages' release to the last result.
        model_s: Of each worker's model process.
        children_s: Of all preparation processes.
        redis_s: Of Redis.
        batch: Images a forward pass, the mean over passes.
        timing_s: What the results say each stage took, means.
        gpu_use: 0 to 1, or None.
        memory_mib: Of the GPU, or None.
    """

    images: int
    seconds: float
    model_s: Sequence[float]
    children_s: float
    redis_s: float
    batch: float
    timing_s: Mapping[str, float]
    gpu_use: float | None
    memory_mib: int | None

    @property
    def images_per_s(self) -> float:
        """From queue to result."""
        return self.images / self.seconds

    def use(self, *, cuda: bool) -> dict[str, float]:
        """How busy each part was, 0 to 1."""
        spent_s = sum(self.model_s) + self.children_s + self.redis_s
        found = {
            "all cores": spent_s / self.seconds / cores(),
            "Redis": self.redis_s / self.seconds,
        }
        if cuda:  # on a CPU it computes in several threads
            found["a model process's one core"] = max(self.model_s) / self.seconds
        if self.gpu_use is not None:
            found["the GPU"] = self.gpu_use
        return found

    def binding(self, *, cuda: bool) -> str:
        """The busiest part."""
        name, use = max(self.use(cuda=cuda).items(), key=lambda one: one[1])
        return f"{name}, {use:.0%} busy" if use >= FULL else f"nothing fully; {name} {use:.0%} busy"


class Workers:
    """So many `clip-worker start` on a Redis of their own, while entered.

    Args:
        settings: Variables of theirs; Redis is added.
        count: How many; preparation processes are shared out among them.
        arguments: Of each, after `python`.
    """

    def __init__(
        self, settings: Mapping[str, str], count: int = 1, arguments: Sequence[str] = START
    ) -> None:
        self._settings = settings
        self._count = count
        self._arguments = arguments

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.server = stack.enter_context(Server())
            self._client = stack.enter_context(Client(self.server.scratch_url))
            settings = {
                **self._settings,
                "CLIP_WORKER_REDIS_URL": self.server.url,
                "CLIP_WORKER_SINGLE_FLIGHT": "false",  # the same images are used again and again
                "CLIP_WORKER_WORKERS": "1",  # each program is one worker, without a supervisor
                "CLIP_WORKER_PREPARATION_PROCESSES": str(max(1, cores() // self._count)),
            }
            self.programs = [
                stack.enter_context(Program(f"worker {number}", self._arguments, settings))
                for number in range(self._count)
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def warm_up(self, paths: Sequence[Path], labels: Sequence[str], limit_s: float) -> None:
        """Wait until each worker takes tasks and the labels are encoded.

        Raises:
            BenchError: They did not start in time.
        """
        for program in self.programs:
            wait_until(
                lambda program=program: READY in program.log(),  # type: ignore[misc]
                program.check,
                every_s=EVERY_S,
                limit_s=limit_s,
                what=f"{program.name}'s start ({program.log()[-200:]})",
            )
        self.run(paths, itertools.repeat(labels), 4 * len(paths), limit_s)

    def run(
        self,
        paths: Sequence[Path],
        lists: Iterator[Sequence[str]],
        count: int,
        limit_s: float = ROUND_LIMIT_S,
    ) -> Round:
        """Put `count` messages on the queue at once, and wait for all results.

        Args:
            paths: Of the images, taken in turn.
            lists: The labels of each message.
            count: Messages, of one image each.
            limit_s: Longest wait.

        Raises:
            BenchError: A task failed, or it took too long.
        """
        uris = itertools.cycle(path.as_uri() for path in paths)
        pairs = itertools.islice(zip(uris, lists, strict=False), count)
        handles = self._client.submit_many(
            {"image": uri, "labels": list(labels)} for uri, labels in pairs
        )
        ids = [handle.id for handle in handles]
        before = self._processor_times()
        with GpuUse() as gpu:
            start = self.server.release()
            self._wait_for(ids, limit_s)
        after = self._processor_times()
        metas = self.server.metas(ids)
        self.server.drop_results()
        timings = [_timing(meta) for meta in metas]
        return Round(
            images=count,
            seconds=max(map(done_at, metas)) - start,
            model_s=[b - a for a, b in zip(before[0], after[0], strict=True)],
            children_s=after[1] - before[1],
            redis_s=after[2] - before[2],
            batch=count / sum(1 / timing["batch_size"] for timing in timings),
            timing_s={name: mean(one[name] or 0.0 for one in timings) for name in timings[0]},
            gpu_use=gpu.use,
            memory_mib=gpu.memory_mib,
        )

    def _wait_for(self, ids: Sequence[str], limit_s: float) -> None:
        def alive() -> None:
            for program in self.programs:
                program.check()

        left = list(ids)

        def done() -> bool:
            while left and self.server.results(left[-500:]) == len(left[-500:]):
                del left[-500:]
            return not left

        wait_until(done, alive, every_s=EVERY_S, limit_s=limit_s, what=f"{len(ids)} tasks")

    def _processor_times(self) -> tuple[list[float], float, float]:
        """Seconds until now: of each model process, of those below them, of Redis."""
        models, children_s = [], 0.0
        for program in self.programs:
            process = psutil.Process(program.pid)
            own = process.cpu_times()
            models.append(own.user + own.system)
            children_s += own.children_user + own.children_system
            children_s += sum(sum(c.cpu_times()[:4]) for c in process.children(recursive=True))
        return models, children_s, self.server.cpu_s


def _timing(meta: bytes | None) -> dict[str, Any]:
    """How long the stages of a task took.

    Raises:
        BenchError: The task failed.
    """
    stored = json.loads(meta or b"{}")
    if stored.get("status") != "SUCCESS":
        raise BenchError(f"a task failed: {str(stored)[:500]}")
    timing: dict[str, Any] = stored["result"]["timing"]
    return timing
