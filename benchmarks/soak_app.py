"""clip-worker's application without the work on pixels, for `benchmarks.soak`.

    celery -A benchmarks.soak_app worker

Images are neither fetched nor decoded, and the image tower answers with a constant feature. All
else is the worker as it is: queue, labels, batches, scores, results, counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clip_engine.engine import Engine
from worker import app
from worker.preparation.pool import PreparationPool
from worker.preparation.records import ImageRequest, PreparedImage


def _constant_features(self: Engine, pixels: Sequence[Tensor]) -> Tensor:
    """float32 `[B, D]`, each row of length 1."""
    dimensions = self.model.embed_dim
    return torch.full((len(pixels), dimensions), dimensions**-0.5)


def _prepared_at_once(self: Any, requests: Sequence[ImageRequest]) -> None:
    self._on_prepared([PreparedImage(request.key, 0, None) for request in requests])


Engine.encode_pixels = _constant_features  # type: ignore[method-assign]  # what this module is for
PreparationPool.submit = _prepared_at_once  # type: ignore[method-assign]  # no image is read
PreparationPool.release = lambda _self, _slots: None  # type: ignore[method-assign]  # all have slot 0

__all__ = ["app"]
