"""One contender of a comparison: a worker process, its Redis, and a round of work for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.bench.messages import CelerySender, ClipWorkerSender, Sender, send_all
from benchmarks.bench.program import ROOT, Program
from benchmarks.bench.server import BenchError, Server, wait_until

START_LIMIT_S = 240.0


@dataclass(frozen=True)
class Round:
    """What one round of a contender took.

    Attributes:
        tasks: How many.
        seconds: From the moment all messages stood in the queue to the last stored result.
        cpu_s: Processor time of the worker's processes meanwhile.
        redis_cpu_s: Of its Redis.
        answers: By image, label to probability.
    """

    tasks: int
    seconds: float
    cpu_s: float
    redis_cpu_s: float
    answers: list[dict[str, float]]


class Contender:
    """A worker with a Redis of its own, while it is entered.

    Args:
        name: For tables.
        arguments: Makes the worker's command line from the URL of its Redis.
        environment: Makes its environment variables from that URL.
        sender: Makes what sends to it from that URL.
        directory: The worker's working directory, from which it imports first.
    """

    def __init__(
        self,
        name: str,
        arguments: Callable[[str], Sequence[str]],
        environment: Callable[[str], Mapping[str, str]] = lambda _: {},
        sender: Callable[[str], Sender] = CelerySender,
        directory: Path = ROOT,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.environment = environment
        self._sender = sender
        self._directory = directory

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        with self._stack:  # closed if the start fails
            self.server = self._stack.enter_context(Server())
            url = self.server.url
            self.program = self._stack.enter_context(
                Program(self.name, self.arguments(url), self.environment(url), self._directory)
            )
            self.sender = self._sender(self.server.scratch_url)
            self._stack.callback(self.sender.close)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def warm_up(self, tasks: Sequence[tuple[str, list[str]]]) -> None:
        """Wait until it has answered some tasks; the first ones load its model."""
        self.run(tasks, limit_s=START_LIMIT_S)

    def run(
        self,
        tasks: Sequence[tuple[str, list[str]]],
        *,
        every_s: float = 0.25,
        limit_s: float = 600.0,
    ) -> Round:
        """One round: all messages put on the queue at once, until all results are stored.

        The clock stops at the last result's own `date_done`: to look often would take processor
        time from the contender.
        """
        ids = send_all(self.sender, tasks)
        cpu_s, redis_cpu_s = self.program.cpu_s, self.server.cpu_s
        start = self.server.release()
        self.wait_for(ids, every_s=every_s, limit_s=limit_s)
        spent = self.program.cpu_s - cpu_s, self.server.cpu_s - redis_cpu_s
        metas = self.server.metas(ids)
        seconds = max(map(done_at, metas)) - start
        answers = [self._answer(meta) for meta in metas]
        self.server.drop_results()
        return Round(len(tasks), seconds, *spent, answers)

    def wait_for(self, ids: Sequence[str], *, every_s: float, limit_s: float) -> None:
        """Wait until these tasks have results."""
        wait_until(
            lambda: self.server.results(ids) == len(ids),
            self.program.check,
            every_s=every_s,
            limit_s=limit_s,
            what=f"{len(ids)} tasks of {self.name}",
        )

    def _answer(self, meta: bytes | None) -> dict[str, float]:
        stored: dict[str, Any] = json.loads(meta or b"{}")
        if stored.get("status") != "SUCCESS":
            raise BenchError(f"a task of {self.name} failed: {str(stored)[:500]}")
        result = stored["result"]
        predictions = result["predictions"] if isinstance(result, dict) else result
        return {one["label"]: one["probability"] for one in predictions}


def done_at(meta: bytes | None) -> float:
    """When a worker wrote a result, in Unix time: the same clock as ours, on the same machine."""
    assert meta is not None, "it was waited for"
    return datetime.fromisoformat(json.loads(meta)["date_done"]).timestamp()


def clip_worker_environment(model: str, root: str) -> Callable[[str], Mapping[str, str]]:
    """The settings of a clip-worker; all others are its defaults."""
    return lambda url: {
        "CLIP_WORKER_REDIS_URL": url,
        "CLIP_WORKER_MODEL": model,
        "CLIP_WORKER_FILE_ROOTS": root,
        "CLIP_WORKER_SINGLE_FLIGHT": "false",  # the same images are used again and again
    }


def clip_worker(model: str, root: str) -> Contender:
    """`clip-worker start`."""
    return Contender(
        "clip-worker",
        lambda _: ["-m", "worker.cli", "start"],
        clip_worker_environment(model, root),
        ClipWorkerSender,
    )
