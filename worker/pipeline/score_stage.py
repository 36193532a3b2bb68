"""From a batch's features to its pictures' answers.

What a batch gives comes in one piece, and is scored in one piece: one hand-over to a thread, and
one matrix product for all pictures that are asked about the same labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from clip_engine.errors import ClipEngineError
from worker.pipeline.fatal import Fatal
from worker.pipeline.job import Job
from worker.pipeline.thread_pool import Pool

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine, Prediction
    from worker.pipeline.batch_result import Batched


class Scored(Protocol):
    """A picture that waits for its answer; `worker.pipeline.passage.Passage` is one."""

    job: Job
    labels: tuple[str, ...]
    label_features: Tensor

    @property
    def ended(self) -> bool:
        """Whether nobody waits any more."""

    def may_run(self) -> bool:
        """Whether the model may have it; if not, it has been told why."""

    def answer(
        self, batched: Batched[Tensor], predictions: Sequence[Prediction], score_s: float
    ) -> None:
        """Take the predictions, and the seconds that scoring took."""

    def fail(self, error: BaseException) -> None:
        """Take an error instead."""


class Scoring:
    """Receives batches, scores them on a pool, and answers each picture.

    Args:
        engine: Scores.
        pool: Where; the batch's own thread has the next batch to run.
        fatal: Judges what a batch fails with.
        is_idle: Whether no picture waits for the model; then one alone is scored where it stands,
            for to wake a thread takes longer.
    """

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        fatal: Fatal,
        is_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._fatal = fatal
        self._is_idle = is_idle

    def accepts(self, key: Scored) -> bool:
        """Unless nobody waits for it any more."""
        return not key.ended

    def may_run(self, key: Scored) -> bool:
        """Unless its message has become another worker's."""
        return key.may_run()

    def take(self, keys: Sequence[Scored], results: Sequence[Batched[Tensor]]) -> None:
        """Hand a batch over."""
        if len(keys) == 1 and self._is_idle():
            self._score(keys, results)
            return
        try:
            self._pool.submit(self._score, keys, results)
        except RuntimeError as error:  # the pool has been shut down
            self.fail(keys, error)

    def fail(self, keys: Sequence[Scored], error: BaseException) -> None:
        """Tell each picture, and the alarm first if this is the end."""
        told = self._fatal.judged(error)
        for picture in keys:
            picture.fail(told)

    def _score(self, pictures: Sequence[Scored], results: Sequence[Batched[Tensor]]) -> None:
        groups: dict[tuple[int, int], list[tuple[Scored, Batched[Tensor]]]] = {}
        for picture, batched in zip(pictures, results, strict=True):
            # The engine keeps whole lists: equal ones share a tensor, whose identity will do.
            group = groups.setdefault((id(picture.label_features), picture.job.k), [])
            group.append((picture, batched))
        for group in groups.values():
            self._score_group(group)

    def _score_group(self, group: Sequence[tuple[Scored, Batched[Tensor]]]) -> None:
        picture, start = group[0][0], time.perf_counter()
        try:
            rows = self._engine.classify_features(
                torch.stack([batched.value for _, batched in group]),  # [B, D]
                picture.label_features,
                picture.labels,
                picture.job.k,
            )
        except BaseException as error:  # noqa: BLE001  # the waiters must hear of it, whatever it is
            self._score_apart(group, error)
            return
        score_s = time.perf_counter() - start
        for (each, batched), predictions in zip(group, rows, strict=True):
            try:
                each.answer(batched, predictions, score_s)
            except BaseException as error:  # noqa: BLE001  # as above
                each.fail(error)

    def _score_apart(
        self, group: Sequence[tuple[Scored, Batched[Tensor]]], error: BaseException
    ) -> None:
        """After an error of a group: one picture's features may be to blame for it."""
        if len(group) == 1 or not isinstance(error, ClipEngineError):
            for picture, _ in group:
                picture.fail(error)
            return
        for member in group:
            self._score_group([member])
