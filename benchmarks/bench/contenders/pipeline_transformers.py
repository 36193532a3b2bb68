"""(d) transformers' zero-shot-image-classification pipeline in a Celery task."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import transformers
from celery import Celery

from benchmarks.bench.contenders.settings import CELERY

app = Celery("pipeline_transformers")
app.conf.update(CELERY)


@cache
def loaded() -> Any:
    """The pipeline, once a process."""
    return transformers.pipeline(
        "zero-shot-image-classification", model=os.environ["BENCH_FOLDER"], device="cpu"
    )


@app.task(name="bench.classify")
def classify(image: str, labels: list[str], k: int = 5) -> list[dict[str, Any]]:
    """The k most probable labels of one image."""
    found = loaded()(image, candidate_labels=labels, hypothesis_template="a photo of a {}.")
    best = sorted(found, key=lambda one: -one["score"])[:k]
    return [{"label": one["label"], "probability": one["score"]} for one in best]
