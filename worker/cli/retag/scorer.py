"""Scores stored embeddings in large batches, on several threads.

Axes: N embeddings, D numbers each, B of them in a block.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

import torch

from clip_engine.scoring.logits import one_product
from worker.embeddings.store import LEAST_LENGTH, MOST_LENGTH

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from torch import Tensor

    from clip_engine.engine import Engine
    from clip_engine.scoring.ranking import Ranking
    from clip_engine.scoring.text_features import TextFeatures
    from worker.embeddings.store import EmbeddingBatch
    from worker.pipeline.scoring_plan import ScoringPlan

BLOCK = 512  # images: with 1,000 labels their scores stay in the processor's cache


class Scored(NamedTuple):
    """A batch of a scan with its answers.

    Attributes:
        contents: N hashes.
        images: N URIs.
        rankings: Of blocks, in the order of `contents`.
        position: Where the scan continues.
    """

    contents: Sequence[str]
    images: Sequence[str]
    rankings: Sequence[Ranking]
    position: str


class Scorer:
    """Ranks the labels of a plan for stored embeddings.

    The scores are those of `Engine.rank` to within float32's rounding: a worker multiplies each
    image by itself, and this multiplies many at once.

    Args:
        engine: The model.
        plan: The labels, and how they are scored.
        text: The features of the plan's lists.
        k: Largest number of labels an image.
        threads: That compute at the same time.
    """

    def __init__(
        self, engine: Engine, plan: ScoringPlan, text: TextFeatures, *, k: int, threads: int
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._text = text
        self._k = k
        self._threads = threads

    def scored(self, batches: Iterable[EmbeddingBatch]) -> Generator[Scored]:
        """Yield the answers of batches in order; a few batches are held at a time.

        Embeddings that are damaged are left out.

        Raises:
            ClipEngineError: A score is NaN.
        """
        waiting: deque[Future[Scored]] = deque()
        with ThreadPoolExecutor(self._threads, "retag", torch.set_num_threads, (1,)) as pool:
            try:
                for batch in batches:
                    waiting.append(pool.submit(self._score, batch))
                    if len(waiting) > self._threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _score(self, batch: EmbeddingBatch) -> Scored:
        contents, images = batch.contents, batch.images
        stored = torch.tensor(batch.features)  # [N, D], a copy: Arrow's memory is read-only
        is_sound = torch.ones(len(stored), dtype=torch.bool)
        rankings: list[Ranking] = []
        for start in range(0, len(stored), BLOCK):
            features = stored[start : start + BLOCK].float()  # [B, D]
            length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
            sound = ((length > LEAST_LENGTH) & (length < MOST_LENGTH))[:, 0]  # also if NaN
            is_sound[start : start + BLOCK] = sound
            if sound.any():
                rankings.append(self._rank((features / length)[sound]))
        if not is_sound.all():
            kept = is_sound.tolist()
            contents, images = [*compress(contents, kept)], [*compress(images, kept)]
        return Scored(contents, images, rankings, batch.position)

    def _rank(self, features: Tensor) -> Ranking:
        plan = self._plan
        return self._engine.rank(
            features, self._text, self._k, plan.scoring, plan.tree, multiply=one_product
        )
