"""`python -m worker.cli.tune.child`: measures one configuration.

Requests and replies are lines of JSON on stdin and stdout. What libraries print goes to stderr. The
process ends when stdin does, and so with the process that has started it, however that ends.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from typing import IO, Any

from clip_worker.errors import ClipWorkerError
from worker.cli.tune.measured_worker import MeasuredWorker
from worker.cli.tune.measurement import MEMORY, OTHER
from worker.settings import Settings


def main() -> None:
    """Serve the process that has started this one."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(_requests(sys.stdin), lambda reply: print(json.dumps(reply), file=replies, flush=True))
    replies.close()
    os._exit(0)  # Python's own end takes a second with torch


def serve(requests: Iterator[dict[str, Any]], reply: Callable[[object], None]) -> None:
    """Answer requests, `{"do": METHOD, …}`, the first with the arguments of `MeasuredWorker`."""
    try:
        worker = MeasuredWorker(Settings.load(), **next(requests))
        reply(asdict(worker.facts()))
        for request in requests:
            found = getattr(worker, request.pop("do"))(**request)
            reply(asdict(found) if is_dataclass(found) and not isinstance(found, type) else found)
    except Exception as error:
        reply({"failure": _sentence(error), "kind": _kind(error)})
        raise


def _requests(lines: IO[str]) -> Iterator[dict[str, Any]]:
    received: queue.SimpleQueue[str] = queue.SimpleQueue()

    def receive() -> None:
        for line in lines:
            received.put(line)
        os._exit(0)

    threading.Thread(target=receive, name="requests", daemon=True).start()
    while request := json.loads(received.get()):
        yield request


def _sentence(error: Exception) -> str:
    if isinstance(error, ClipWorkerError):
        return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _kind(error: BaseException | None) -> str:
    """Whether memory ran out, by the error itself or by one that it stands for."""
    text = f"{type(error).__name__} {error}"
    return MEMORY if "Memory" in text or "OUT_OF_MEMORY" in text else OTHER


if __name__ == "__main__":
    main()
