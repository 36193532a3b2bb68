"""One picture on its way through a worker: labels, fetch, gate, decode, batch, score.

Each stage runs where it belongs and hands on to the next, so a passage is in one stage at a time
and needs no lock. Its future ends once, whichever comes first: the answer, an error, or the
pipeline giving it up; a stage that finds it ended stops there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from worker.contract import Classification, Prediction, Timing
from worker.errors import ExpiredError, ServiceError
from worker.fatal import Fatal
from worker.gate import Gate
from worker.job import Job
from worker.translate import translate

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine
    from worker.batcher import Batched, Batcher

logger = logging.getLogger(__name__)


class Fetches(Protocol):
    """Whatever gives a URI's bytes; `worker.sources.Fetcher` does."""

    def fetch(self, uri: str) -> bytes:
        """The bytes, or an error of `worker.errors`."""


@dataclass(frozen=True)
class Line:
    """What all passages of a pipeline share; `worker.pipeline.Pipeline` tells what each is.

    Attributes:
        under_way: The passages whose futures have not ended.
        decoding: When each thread that decodes began, by its id, on the clock of `perf_counter`.
    """

    engine: Engine
    fetcher: Fetches
    batcher: Batcher[Tensor, Tensor]
    fetch_pool: Executor
    decode_pool: Executor
    gate: Gate
    fatal: Fatal
    now: Callable[[], float]
    under_way: set[Passage] = field(default_factory=set)
    decoding: dict[int, float] = field(default_factory=dict)


class Passage:
    """One job's way, and the future that its caller waits on.

    Args:
        line: Where it goes along.
        job: What is asked.
        on_end: Told once the future has ended.
    """

    def __init__(self, line: Line, job: Job, on_end: Callable[[Passage], None]) -> None:
        self.job = job
        self.future: Future[Classification] = Future()
        self.future.set_running_or_notify_cancel()  # to cancel it would not stop the stages
        self._line = line
        self._on_end = on_end
        self._labels_s = self._fetch_s = self._decode_s = 0.0
        self._label_features: Tensor
        self._data: bytes

    def start(self) -> None:
        """Set out; whatever happens from here on, the future ends."""
        self._hand_on(self._line.fetch_pool, self._fetch)

    def fail(self, error: BaseException) -> None:
        """End the future with an error of `worker.errors`, unless it has ended."""
        if self.future.done():
            return
        translated = translate(error, self.job.image)
        if isinstance(translated, ServiceError):
            logger.error("Picture %.200r failed", self.job.image, exc_info=error)
        try:
            self.future.set_exception(translated)
        except InvalidStateError:  # somebody was quicker
            return
        self._on_end(self)

    def _succeed(self, answer: Classification) -> None:
        try:
            self.future.set_result(answer)
        except InvalidStateError:
            return
        self._on_end(self)

    def _hand_on(self, pool: Executor, stage: Callable[[], None]) -> None:
        """Run the next stage in a pool; whatever goes wrong there ends the job's future."""
        try:
            pool.submit(self._guarded, stage)
        except RuntimeError as error:  # the pool has been shut down
            self.fail(error)

    def _guarded(self, stage: Callable[[], None]) -> None:
        if self.future.done():
            return
        try:
            stage()
        except BaseException as error:  # noqa: BLE001  # the waiter must hear of it, whatever it is
            self.fail(error)

    def _fetch(self) -> None:
        job, engine, start = self.job, self._line.engine, time.perf_counter()
        self._check_deadline("the task was started")
        # Labels first: one that is too long should not cost a fetch.
        self._label_features = engine.labels.get(job.labels, job.templates)  # [L, D]
        self._labels_s = time.perf_counter() - start
        self._data = self._line.fetcher.fetch(job.image)
        self._fetch_s = time.perf_counter() - start - self._labels_s
        self._line.gate.enter(job, self._go, self.fail)

    def _go(self) -> None:
        self._hand_on(self._line.decode_pool, self._decode)

    def _decode(self) -> None:
        self._check_deadline("its picture was decoded")
        start = time.perf_counter()
        thread = threading.get_ident()
        self._line.decoding[thread] = start
        try:
            pixels = self._line.engine.prepare(self._data)  # uint8 [3, R, R]
        finally:
            del self._line.decoding[thread]
        self._decode_s = time.perf_counter() - start
        del self._data  # a waiting picture holds its pixels only
        self._line.batcher.submit(pixels).add_done_callback(self._batched)

    def _batched(self, batched: Future[Batched[Tensor]]) -> None:
        error = batched.exception()
        if error is None:
            self._hand_on(self._line.decode_pool, lambda: self._score(batched.result()))
        else:
            self.fail(self._line.fatal.judged(error))

    def _score(self, batch: Batched[Tensor]) -> None:
        job, engine, start = self.job, self._line.engine, time.perf_counter()
        [predictions] = engine.classify_features(
            batch.value[None], self._label_features, job.labels, job.k
        )
        kept = tuple(
            Prediction(label=p.label, probability=p.probability, index=p.index)
            for p in predictions
            if p.probability >= job.threshold
        )
        self._succeed(
            Classification(
                predictions=kept,
                model=engine.identity.name,
                model_digest=engine.identity.digest,
                timing=self._timing(batch, time.perf_counter() - start),
                embedding=tuple(batch.value.tolist()) if job.return_embedding else None,
            )
        )

    def _timing(self, batch: Batched[Tensor], score_s: float) -> Timing:
        return Timing(
            queue=self.job.queue_s,
            labels=self._labels_s,
            fetch=self._fetch_s,
            decode=self._decode_s,
            batch_wait=batch.wait_s,
            forward=batch.run_s,
            score=score_s,
            batch_size=batch.batch_size,
        )

    def _check_deadline(self, before: str) -> None:
        deadline = self.job.deadline
        if deadline is not None and (late_s := self._line.now() - deadline) > 0:
            raise ExpiredError(
                f"The deadline {deadline:.3f} passed {late_s:.1f} s before {before}; give a later "
                "one or add workers."
            )
