"""(c) celery-batches with open_clip: images run together, each list of labels once a batch."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import open_clip
import torch
from celery import Celery
from celery_batches import Batches, SimpleRequest
from PIL import Image
from torch import Tensor

from benchmarks.bench.contenders.settings import CELERY

BATCH = 8
WAIT_S = 0.1  # after this an incomplete batch is run

app = Celery("batches_open_clip")
app.conf.update(CELERY, worker_prefetch_multiplier=4 * BATCH)


@cache
def loaded() -> tuple[Any, Any, Any]:
    """Model, preprocessing and tokenizer, once a process."""
    name = os.environ["BENCH_OPEN_CLIP_NAME"]
    model, _, preprocess = open_clip.create_model_and_transforms(
        name, pretrained=os.environ["BENCH_STATE_DICT"]
    )
    return model.eval(), preprocess, open_clip.get_tokenizer(name)


@app.task(name="bench.classify", base=Batches, flush_every=BATCH, flush_interval=WAIT_S)
def classify(requests: list[SimpleRequest]) -> None:
    """Answer each request of a batch."""
    model, preprocess, _ = loaded()
    pixels = torch.stack([preprocess(Image.open(request.kwargs["image"])) for request in requests])
    with torch.inference_mode():
        features = model.encode_image(pixels, normalize=True)  # [B, D]
        texts = _text_features({tuple(request.kwargs["labels"]) for request in requests})
        for request, feature in zip(requests, features, strict=True):
            labels = tuple(request.kwargs["labels"])
            logits = model.logit_scale.exp() * feature @ texts[labels].T  # [L]
            answer = _best(logits.softmax(dim=-1), labels, request.kwargs.get("k", 5))
            app.backend.mark_as_done(request.id, answer, request=request)


def _text_features(lists: set[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
    model, _, tokenize = loaded()
    return {
        labels: model.encode_text(tokenize([f"a photo of a {i}." for i in labels]), normalize=True)
        for labels in lists
    }


def _best(probabilities: Tensor, labels: tuple[str, ...], k: int) -> list[dict[str, Any]]:
    values, indices = probabilities.topk(min(k, len(labels)))
    return [
        {"label": labels[i], "probability": p}
        for p, i in zip(values.tolist(), indices.tolist(), strict=True)
    ]
