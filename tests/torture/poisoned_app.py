"""The product's worker with three test-only probes; `python -m torture.poisoned_app start`.

Pictures marked as poison end the process that decodes them; what the model gets and what ends is
written to a journal; the forward pass may be made slow. Nothing else differs from `clip-worker`.

Environment: `TORTURE_JOURNAL` (a file), `TORTURE_FORWARD_S` (seconds added to each forward pass).
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from celery.signals import worker_ready

from clip_engine.engine import Engine
from torture.journal import END, READY, RUN, Journal
from torture.mark import Mark
from worker.cli.entry import run
from worker.pipeline.encode_stage import EncodeStage
from worker.pipeline.image_task import ImageTask
from worker.pipeline.tasks_in_flight import TasksInFlight
from worker.preparation import launcher


def main(arguments: Sequence[str]) -> int:
    """Install the probes, then be `clip-worker`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    journal = Journal(Path(os.environ["TORTURE_JOURNAL"]))
    install(journal, float(os.environ.get("TORTURE_FORWARD_S", "0")))
    worker_ready.connect(lambda **_: journal.write(READY), weak=False)
    return run(arguments)


def install(journal: Journal, forward_s: float) -> None:
    """Put the probes around the product's methods, in this process and in those that decode."""
    launcher._BOOT = f"import torture.poisoned_decoder\n{launcher._BOOT}"
    _wrap(EncodeStage, "_encode", lambda inner: _writing(inner, journal, RUN, after=False))
    _wrap(TasksInFlight, "_tell", lambda inner: _writing(inner, journal, END, after=True))
    if forward_s:
        _wrap(Engine, "encode_pixels", lambda inner: _slow(inner, forward_s))


def _wrap(owner: type, name: str, probe: Callable[[Callable[..., Any]], Any]) -> None:
    inner = getattr(owner, name)
    setattr(owner, name, wraps(inner)(probe(inner)))


def _writing(
    inner: Callable[..., Any], journal: Journal, what: str, *, after: bool
) -> Callable[..., Any]:
    def probe(self: Any, tasks: Sequence[ImageTask], *rest: Any) -> Any:
        if after:
            inner(self, tasks, *rest)
        for task in tasks:
            if mark := Mark.in_uri(task.image):
                journal.write(what, mark.number)
        return None if after else inner(self, tasks, *rest)

    return probe


def _slow(inner: Callable[..., Any], forward_s: float) -> Callable[..., Any]:
    def encode_pixels(self: Engine, pixels: Any) -> Any:
        time.sleep(forward_s)
        return inner(self, pixels)

    return encode_pixels


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
