"""celery-batches with the same journal; from the benchmarks' dependency group.

Environment as for `stock_app`, whose task it replaces by one that takes up to 32 messages at once.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from celery_batches import Batches

from torture.journal import END, RUN
from torture.message import TASK, number_of
from torture.stock_app import app, journal, main

BATCH = 32
FLUSH_S = 0.1


@app.task(name=TASK, base=Batches, flush_every=BATCH, flush_interval=FLUSH_S)
def classify(requests: list[Any]) -> None:
    """Do nothing for `TORTURE_WORK_S` seconds, once for all, and store their results."""
    numbers = [number_of(request.kwargs["image"]) for request in requests]
    for number in numbers:
        journal().write(RUN, number)
    time.sleep(float(os.environ["TORTURE_WORK_S"]))
    for request, number in zip(requests, numbers, strict=True):
        journal().write(END, number)
        app.backend.mark_as_done(request.id, request.kwargs["image"], request=request)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
