"""The way of one picture through a worker: labels, fetch, decode, batch, score.

Each stage runs where it belongs: fetching waits on others and has many threads, decoding and
scoring take a core and have as many threads as cores, the image tower runs in batches. Tasks may
differ in labels, templates and K, for a batch carries nothing but pixels.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from clip_engine.engine import Engine
from worker.batcher import Batched, Batcher
from worker.contract import Classification, Prediction, Timing
from worker.errors import ExpiredError, ServiceError
from worker.translate import translate

logger = logging.getLogger(__name__)


class Fetches(Protocol):
    """Whatever gives a URI's bytes; `worker.sources.Fetcher` does."""

    def fetch(self, uri: str) -> bytes:
        """The bytes, or an error of `worker.errors`."""


@dataclass(frozen=True)
class Job:
    """One picture and what is asked of it, validated.

    Attributes:
        image: URI.
        labels: L different labels.
        templates: At least one.
        k: Most predictions.
        threshold: Least probability of a prediction.
        deadline: Unix time in seconds after which the job is dropped, or None.
        return_embedding: Whether the answer carries the picture's feature.
        queue_s: Seconds that the job waited in the queue, or None where that is not known.
    """

    image: str
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    k: int
    threshold: float = 0.0
    deadline: float | None = None
    return_embedding: bool = False
    queue_s: float | None = None


class Pipeline:
    """Takes jobs, gives futures of classifications. Threads may share it.

    Args:
        engine: The model.
        fetcher: From URI to bytes.
        batcher: Runs `engine.encode_pixels`; its owner starts and stops it.
        fetch_pool: For label features, which are mostly cached, and fetches.
        decode_pool: For decoding and scoring.
        now: Unix time in seconds.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        engine: Engine,
        fetcher: Fetches,
        batcher: Batcher[Tensor, Tensor],
        fetch_pool: Executor,
        decode_pool: Executor,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.fetcher = fetcher
        self.batcher = batcher
        self.fetch_pool = fetch_pool
        self.decode_pool = decode_pool
        self.now = now

    def submit(self, job: Job) -> Future[Classification]:
        """Start a job.

        Returns:
            A future that ends with the classification or with an error of `worker.errors`.
        """
        run = _Run(self, job)
        run.hand_on(self.fetch_pool, run.fetch)
        return run.future


class _Run:
    """One job on its way. Its stages follow each other, so they need no lock."""

    def __init__(self, pipeline: Pipeline, job: Job) -> None:
        self.pipeline = pipeline
        self.job = job
        self.future: Future[Classification] = Future()
        self.future.set_running_or_notify_cancel()  # to cancel it would not stop the stages
        self.labels_s = self.fetch_s = self.decode_s = 0.0
        self.label_features: Tensor
        self.data: bytes

    def hand_on(self, pool: Executor, stage: Callable[[], None]) -> None:
        """Run the next stage in a pool; whatever goes wrong there ends the job's future."""
        try:
            pool.submit(self._guarded, stage)
        except RuntimeError as error:  # the pool has been shut down
            self._fail(error)

    def fetch(self) -> None:
        job, engine, start = self.job, self.pipeline.engine, time.perf_counter()
        self._check_deadline()
        # Labels first: one that is too long should not cost a fetch.
        self.label_features = engine.labels.get(job.labels, job.templates)  # [L, D]
        self.labels_s = time.perf_counter() - start
        self.data = self.pipeline.fetcher.fetch(job.image)
        self.fetch_s = time.perf_counter() - start - self.labels_s
        self.hand_on(self.pipeline.decode_pool, self.decode)

    def decode(self) -> None:
        start = time.perf_counter()
        pixels = self.pipeline.engine.prepare(self.data)  # uint8 [3, R, R]
        self.decode_s = time.perf_counter() - start
        del self.data  # a waiting picture holds its pixels only
        batched = self.pipeline.batcher.submit(pixels)
        batched.add_done_callback(
            lambda done: self.hand_on(self.pipeline.decode_pool, lambda: self.score(done))
        )

    def score(self, batched: Future[Batched[Tensor]]) -> None:
        job, batch, start = self.job, batched.result(), time.perf_counter()
        [predictions] = self.pipeline.engine.classify_features(
            batch.value[None], self.label_features, job.labels, job.k
        )
        kept = tuple(
            Prediction(label=p.label, probability=p.probability, index=p.index)
            for p in predictions
            if p.probability >= job.threshold
        )
        self.future.set_result(
            Classification(
                predictions=kept,
                model=self.pipeline.engine.identity.name,
                model_digest=self.pipeline.engine.identity.digest,
                timing=self._timing(batch, time.perf_counter() - start),
                embedding=tuple(batch.value.tolist()) if job.return_embedding else None,
            )
        )

    def _timing(self, batch: Batched[Tensor], score_s: float) -> Timing:
        return Timing(
            queue=self.job.queue_s,
            labels=self.labels_s,
            fetch=self.fetch_s,
            decode=self.decode_s,
            batch_wait=batch.wait_s,
            forward=batch.run_s,
            score=score_s,
            batch_size=batch.batch_size,
        )

    def _check_deadline(self) -> None:
        if (
            self.job.deadline is not None
            and (late_s := self.pipeline.now() - self.job.deadline) > 0
        ):
            raise ExpiredError(
                f"The deadline {self.job.deadline:.3f} passed {late_s:.1f} s before the task was "
                "started; give a later one or add workers."
            )

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:  # noqa: BLE001  # the waiter must hear of it, whatever it is
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        translated = translate(error, self.job.image)
        if isinstance(translated, ServiceError):
            logger.error("Picture %.200r failed", self.job.image, exc_info=error)
        self.future.set_exception(translated)
