"""Celery as it comes, with the same journal: what our worker is compared with.

A task of the same name as ours, which does nothing for a while. Environment: `STOCK_REDIS_URL`,
`STOCK_SETTINGS` (Celery's settings, JSON), `TORTURE_WORK_S`, `TORTURE_JOURNAL`; arguments go to
`celery worker`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_ready

from torture.journal import END, READY, RUN, Journal
from torture.message import QUEUE, TASK, number_of

app = Celery("stock")
app.conf.task_default_queue = QUEUE


def main(arguments: Sequence[str]) -> int:
    """Configure from the environment, and be `celery worker`."""
    url = os.environ["STOCK_REDIS_URL"]
    app.conf.update(broker_url=url, result_backend=url, worker_hijack_root_logger=True)
    app.conf.update(json.loads(os.environ["STOCK_SETTINGS"]))
    worker_ready.connect(lambda **_: journal().write(READY), weak=False)
    app.worker_main(["worker", "--loglevel", "warning", "-n", f"{os.getpid()}@%h", *arguments])
    return 0


@cache
def journal() -> Journal:
    """This process's, opened at its first line: a pool forks before it works."""
    return Journal(Path(os.environ["TORTURE_JOURNAL"]))


@app.task(name=TASK)
def classify(image: str, **_: Any) -> str:
    """Do nothing for `TORTURE_WORK_S` seconds."""
    journal().write(RUN, number_of(image))
    time.sleep(float(os.environ["TORTURE_WORK_S"]))
    journal().write(END, number_of(image))
    return image


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
