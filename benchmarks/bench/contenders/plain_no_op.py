"""A plain Celery task without a model, for the pools of Celery."""

from __future__ import annotations

from typing import Any

from celery import Celery

from benchmarks.bench.contenders.no_op import answer
from benchmarks.bench.contenders.settings import CELERY

app = Celery("plain_no_op")
app.conf.update(CELERY, worker_prefetch_multiplier=16)


@app.task(name="bench.classify")
def classify(labels: list[str], **_: object) -> dict[str, Any]:
    """Answer without looking."""
    return answer(labels)
