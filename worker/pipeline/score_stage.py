"""Last stage: from image features to results, one matrix product for each distinct label list."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from clip_engine.errors import ClipEngineError
from worker.pipeline.batch_thread import BatchThread

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine, Prediction
    from worker.pipeline.image_task import ImageTask


class Encoded(NamedTuple):
    """A batch that the model has encoded.

    Attributes:
        tasks: B of them.
        features: float32 `[B, D]`, normalised.
        began_s: When the run began (monotonic).
        run_s: Seconds that it took.
    """

    tasks: Sequence[ImageTask]
    features: Tensor
    began_s: float
    run_s: float


class _Row(NamedTuple):
    task: ImageTask
    feature: Tensor  # [D]
    batch: Encoded


class ScoreStage:
    """Scores batches on a thread of its own, so that the model's thread can begin the next one.

    Args:
        engine: Scores.
        succeeded: Takes tasks that have a result.
        failed: Takes a task that can't be scored, and why.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        succeeded: Callable[[Sequence[ImageTask]], None],
        failed: Callable[[ImageTask, BaseException], None],
    ) -> None:
        self._engine = engine
        self._succeeded = succeeded
        self._failed = failed
        self._thread: BatchThread[Encoded] = BatchThread("score", self.run, self._fail)

    def put(self, batches: Sequence[Encoded]) -> None:
        """Score batches soon."""
        self._thread.put(batches)

    def stop(self, timeout_s: float) -> None:
        """Score no more."""
        self._thread.stop(timeout_s)

    def run(self, batches: Sequence[Encoded]) -> None:
        """Score batches; images with the same labels and K together."""
        groups: dict[tuple[int, int], list[_Row]] = {}
        for batch in batches:
            for task, feature in zip(batch.tasks, batch.features.unbind(), strict=True):
                # The engine keeps whole lists: equal ones share a tensor, whose identity will do.
                group = groups.setdefault((id(task.label_features), task.request.k), [])
                group.append(_Row(task, feature, batch))
        done = [task for group in groups.values() for task in self._score(group)]
        if done:
            self._succeeded(done)

    def _score(self, rows: Sequence[_Row]) -> list[ImageTask]:
        """Those that have their results."""
        task, start = rows[0].task, time.perf_counter()
        assert task.label_features is not None, "labels come before pixels"
        try:
            predictions = self._engine.classify_features(
                torch.stack([row.feature for row in rows]),  # [B, D]
                task.label_features,
                task.labels,
                task.request.k,
            )
        except ClipEngineError as error:
            return self._score_apart(rows, error)
        except BaseException as error:  # noqa: BLE001  # the tasks' owners must hear of it
            for row in rows:
                self._failed(row.task, error)
            return []
        score_s = time.perf_counter() - start
        for row, found in zip(rows, predictions, strict=True):
            row.task.result = self._result(row, found, score_s)
        return [row.task for row in rows]

    def _score_apart(self, rows: Sequence[_Row], error: ClipEngineError) -> list[ImageTask]:
        """After an error of a group: one image's features may be to blame for it."""
        if len(rows) == 1:
            self._failed(rows[0].task, error)
            return []
        return [task for row in rows for task in self._score([row])]

    def _result(
        self, row: _Row, predictions: Sequence[Prediction], score_s: float
    ) -> dict[str, Any]:
        """The fields of `worker.contract.results.Classification`."""
        task, identity = row.task, self._engine.identity
        return {
            "predictions": [
                {"label": p.label, "probability": p.probability, "index": p.index}
                for p in predictions
                if p.probability >= task.request.threshold
            ],
            "model": identity.name,
            "model_digest": identity.digest,
            "timing": {
                "queue": task.queue_s,
                "labels": task.labels_s,
                "fetch": task.fetch_s,
                "decode": task.decode_s,
                "batch_wait": max(0.0, row.batch.began_s - task.prepared_s),
                "forward": row.batch.run_s,
                "score": score_s,
                "batch_size": len(row.batch.tasks),
            },
            "embedding": row.feature.tolist() if task.request.return_embedding else None,
        }

    def _fail(self, batches: Sequence[Encoded], error: BaseException) -> None:
        for batch in batches:
            for task in batch.tasks:
                self._failed(task, error)
