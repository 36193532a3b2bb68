"""clip-worker's queue path as a contender, without a model."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.bench.contender import Contender
from benchmarks.bench.messages import ClipWorkerSender
from benchmarks.bench.program import Program

HANDLER, PIPELINE = "clip-worker, queue path", "clip-worker, with admission"
PLAIN_GC = "clip-worker, queue path, Python's own garbage collection"
KINDS = {HANDLER: "handler", PIPELINE: "pipeline", PLAIN_GC: "handler"}
SETTINGS = {PLAIN_GC: {"CLIP_WORKER_GC_THRESHOLD": "0"}}
COMMAND = ("-m", "benchmarks.bench.contenders.no_op_worker")


def no_op_workers() -> list[Contender]:
    """The path alone, less a setting, and the path with validation and answers."""
    return [no_op_worker(name) for name in KINDS]


def no_op_worker(name: str) -> Contender:
    """One of the two, with a Redis of its own."""
    return Contender(
        name,
        lambda _: [*COMMAND, KINDS[name]],
        lambda url: {**_environment(url), **SETTINGS.get(name, {})},
        ClipWorkerSender,
    )


def no_op_program(url: str) -> Program:
    """Another worker of the first kind, on a Redis that is there already."""
    return Program(HANDLER, [*COMMAND, KINDS[HANDLER]], _environment(url))


def _environment(url: str) -> Mapping[str, str]:
    return {"CLIP_WORKER_REDIS_URL": url}
