"""(b) What one would write first: a Celery task that runs open_clip on one image."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import open_clip
import torch
from celery import Celery
from PIL import Image

from benchmarks.bench.contenders.settings import CELERY

app = Celery("plain_open_clip")
app.conf.update(CELERY)


@cache
def loaded() -> tuple[Any, Any, Any]:
    """Model, preprocessing and tokenizer, once a process."""
    name = os.environ["BENCH_OPEN_CLIP_NAME"]
    model, _, preprocess = open_clip.create_model_and_transforms(
        name, pretrained=os.environ["BENCH_STATE_DICT"]
    )
    return model.eval(), preprocess, open_clip.get_tokenizer(name)


@app.task(name="bench.classify")
def classify(image: str, labels: list[str], k: int = 5) -> list[dict[str, Any]]:
    """The k most probable labels of one image."""
    model, preprocess, tokenize = loaded()
    pixels = preprocess(Image.open(image)).unsqueeze(0)
    tokens = tokenize([f"a photo of a {label}." for label in labels])
    with torch.inference_mode():
        image_features = model.encode_image(pixels, normalize=True)
        text_features = model.encode_text(tokens, normalize=True)
        logits = model.logit_scale.exp() * image_features @ text_features.T
    values, indices = logits.softmax(dim=-1)[0].topk(min(k, len(labels)))
    return [
        {"label": labels[i], "probability": p}
        for p, i in zip(values.tolist(), indices.tolist(), strict=True)
    ]
