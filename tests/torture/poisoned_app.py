"""The product's worker with three test-only probes; `python -m torture.poisoned_app start`.

Pictures marked as poison end the process in the decoder; decodes and ends are written to a journal;
the forward pass may be made slow. Nothing else differs from `clip-worker`.

Environment: `TORTURE_JOURNAL` (a file), `TORTURE_FORWARD_S` (seconds added to each forward pass).
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from celery.signals import worker_ready

from clip_engine.engine import Engine
from clip_engine.preprocess import Preprocessor
from torture.journal import END, READY, RUN, Journal
from torture.mark import Mark
from worker.cli.entry import run
from worker.pipeline.pipeline import Pipeline

# A decoder's segmentation fault, and the kernel's answer to one that takes all memory.
POISONS = {"segfault": signal.SIGSEGV, "oom": signal.SIGKILL}


def main(arguments: Sequence[str]) -> int:
    """Install the probes, then be `clip-worker`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    journal = Journal(Path(os.environ["TORTURE_JOURNAL"]))
    install(journal, float(os.environ.get("TORTURE_FORWARD_S", "0")))
    worker_ready.connect(lambda **_: journal.write(READY), weak=False)
    return run(arguments)


def install(journal: Journal, forward_s: float) -> None:
    """Put the probes around the product's methods, in this process."""
    _wrap(Preprocessor, "from_bytes", lambda inner: _decoding(inner, journal))
    _wrap(Pipeline, "submit", lambda inner: _submitting(inner, journal))
    if forward_s:
        _wrap(Engine, "encode_pixels", lambda inner: _slow(inner, forward_s))


def _wrap(owner: type, name: str, probe: Callable[[Callable[..., Any]], Any]) -> None:
    inner = getattr(owner, name)
    setattr(owner, name, wraps(inner)(probe(inner)))


def _decoding(inner: Callable[..., Any], journal: Journal) -> Callable[..., Any]:
    def from_bytes(self: Preprocessor, data: bytes, *rest: Any) -> Any:
        if mark := Mark.in_bytes(data):
            journal.write(RUN, mark.number)
            if mark.kind in POISONS:
                os.kill(os.getpid(), POISONS[mark.kind])
                time.sleep(60)  # until the signal has ended the process
        return inner(self, data, *rest)

    return from_bytes


def _submitting(inner: Callable[..., Any], journal: Journal) -> Callable[..., Any]:
    def submit(self: Pipeline, job: Any, *rest: Any, **options: Any) -> Any:
        future = inner(self, job, *rest, **options)
        if mark := Mark.in_uri(job.image):
            future.add_done_callback(lambda _: journal.write(END, mark.number))
        return future

    return submit


def _slow(inner: Callable[..., Any], forward_s: float) -> Callable[..., Any]:
    def encode_pixels(self: Engine, pixels: Any) -> Any:
        time.sleep(forward_s)
        return inner(self, pixels)

    return encode_pixels


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
