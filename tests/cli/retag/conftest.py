"""A store with embeddings of the demo model."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from clip_engine import Engine, load_engine
from worker.embeddings.open import open_store
from worker.embeddings.space import space_of
from worker.embeddings.store import Embedding

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def engine() -> Engine:
    return load_engine("demo")


def put_random(url: str, engine: Engine, count: int) -> dict[str, Embedding]:
    """Store random embeddings, by their contents."""
    space, rng = space_of(engine), np.random.default_rng(0)
    features = rng.standard_normal((count, space.dimensions)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features = features.astype(np.float16).astype(np.float32)
    stored = [
        Embedding(hashlib.sha256(str(i).encode()).hexdigest(), f"https://x/{i}.jpg", feature)
        for i, feature in enumerate(features)
    ]
    store = open_store(url)
    for begin in range(0, count, 10_000):
        store.put(space, stored[begin : begin + 10_000])
    store.close()
    return {each.content: each for each in stored}


@pytest.fixture
def lance_url(tmp_path: Path) -> str:
    return f"lance://{tmp_path}/embeddings"
