"""clip-worker's queue path as a contender, without a model."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.bench.contender import Contender
from benchmarks.bench.messages import ClipWorkerSender
from benchmarks.bench.program import Program

HANDLER, PIPELINE = "clip-worker, queue path", "clip-worker, with admission"
KINDS = {HANDLER: "handler", PIPELINE: "pipeline"}
COMMAND = ("-m", "benchmarks.bench.contenders.no_op_worker")


def no_op_workers() -> list[Contender]:
    """The path alone, and the path with requests validated and answers built."""
    return [no_op_worker(HANDLER), no_op_worker(PIPELINE)]


def no_op_worker(name: str) -> Contender:
    """One of the two, with a Redis of its own."""
    return Contender(name, lambda _: [*COMMAND, KINDS[name]], _environment, ClipWorkerSender)


def no_op_program(url: str) -> Program:
    """Another worker of the first kind, on a Redis that is there already."""
    return Program(HANDLER, [*COMMAND, KINDS[HANDLER]], _environment(url))


def _environment(url: str) -> Mapping[str, str]:
    return {"CLIP_WORKER_REDIS_URL": url}
