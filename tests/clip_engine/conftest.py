"""Engines on tiny random models."""

from __future__ import annotations

import pytest
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_engine

from clip_engine.acceleration import PLAIN, Acceleration
from clip_engine.engine import Engine


@pytest.fixture(
    scope="module",
    params=[(c, a) for c in (TINY_VIT, TINY_RESNET) for a in (PLAIN, Acceleration())],
    ids=["ViT plain", "ViT", "ResNet plain", "ResNet"],
)
def engine(request: pytest.FixtureRequest) -> Engine:
    config, acceleration = request.param
    return tiny_engine(config, buckets=(1, 2, 4, 8), acceleration=acceleration)
