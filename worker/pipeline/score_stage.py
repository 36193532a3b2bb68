"""Last stage: from image features to results, one matrix product for each distinct label list."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from clip_engine.errors import ClipEngineError
from worker.pipeline.batch_thread import BatchThread
from worker.pipeline.core_share import CoreShare
from worker.pipeline.task_result import further_fields, predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from clip_engine.engine import Engine
    from clip_engine.scoring.ranking import Ranking
    from worker.pipeline.image_task import ImageTask


class Encoded(NamedTuple):
    """A batch that the model has encoded.

    Attributes:
        tasks: B of them.
        features: float32 `[B, D]`, normalised.
        began_s: When the run began (monotonic).
        run_s: Seconds that it took.
        images: How many it ran with: fewer than B if tasks share an image; None for B.
        is_stored: Whether the features are stored ones, and nothing was run.
    """

    tasks: Sequence[ImageTask]
    features: Tensor
    began_s: float
    run_s: float
    images: int | None = None
    is_stored: bool = False


def stacked(features: Sequence[NDArray[np.float32] | None]) -> Tensor:
    """Stored features, float32 `[D]` each, as those of a batch, `[B, D]`."""
    return torch.from_numpy(np.stack([feature for feature in features if feature is not None]))


Rows = Sequence[tuple["ImageTask", Encoded]]  # tasks, each with the batch that it was in


class ScoreStage:
    """Scores batches on a thread of its own, so that the model's thread can begin the next one.

    Args:
        engine: Scores.
        cores: Shared by the forward passes; scoring takes one.
        succeeded: Takes tasks that have a result.
        failed: Takes a task that can't be scored, and why.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        cores: CoreShare,
        succeeded: Callable[[Sequence[ImageTask]], None],
        failed: Callable[[ImageTask, BaseException], None],
    ) -> None:
        self._engine = engine
        self._cores = cores
        self._succeeded = succeeded
        self._failed = failed
        thread: BatchThread[Encoded] = BatchThread("score", self.run, self._fail)
        self.put = thread.put
        self.stop = thread.stop

    def run(self, batches: Sequence[Encoded]) -> None:
        """Score batches; images with the same labels and K together."""
        self._cores.use_one()
        rows = [(task, batch) for batch in batches for task in batch.tasks]
        features = torch.cat([batch.features for batch in batches])  # [B, D]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, (task, _) in enumerate(rows):
            plan, text, k = task.plan, task.text, task.request.k
            assert plan, "labels come before pixels"
            assert text, "labels come before pixels"
            # The engine keeps features of whole lists: equal lists share a tensor, whose identity
            # will do. Equal scorings are one object, too.
            key = id(text.labels), k, id(plan.scoring), id(plan.tree)
            groups.setdefault(key, []).append(index)
        done: list[ImageTask] = []
        for group in groups.values():
            of_group = features if len(groups) == 1 else features[group]
            done += self._score([rows[index] for index in group], of_group)
        if done:
            self._succeeded(done)

    def _score(self, rows: Rows, features: Tensor) -> list[ImageTask]:
        """Those that have their results."""
        task, start = rows[0][0], time.perf_counter()
        plan, text = task.plan, task.text
        assert plan, "labels come before pixels"
        assert text, "labels come before pixels"
        try:
            ranking = self._engine.rank(features, text, task.request.k, plan.scoring, plan.tree)
        except ClipEngineError as error:
            return self._score_apart(rows, features, error)
        except BaseException as error:  # noqa: BLE001  # `failed` ends the tasks
            for task, _ in rows:
                self._failed(task, error)
            return []
        score_s = time.perf_counter() - start
        for row, (task, batch) in enumerate(rows):
            task.result = self._result(task, batch, ranking, row, score_s)
            if batch.is_stored:
                task.result["embedding_from"] = "store"
            if task.request.return_embedding:
                task.result["embedding"] = features[row].tolist()
            if task.plan and (task.request.label_set or ranking.none_of_these is not None):
                task.result |= further_fields(task.plan, ranking, row)
        return [task for task, _ in rows]

    def _score_apart(self, rows: Rows, features: Tensor, error: ClipEngineError) -> list[ImageTask]:
        """After an error of a group: one image's features may be to blame for it."""
        if len(rows) == 1:
            self._failed(rows[0][0], error)
            return []
        return [
            task
            for i in range(len(rows))
            for task in self._score(rows[i : i + 1], features[i : i + 1])
        ]

    def _result(
        self, task: ImageTask, batch: Encoded, ranking: Ranking, row: int, score_s: float
    ) -> dict[str, Any]:
        """The fields of `clip_worker.contract.results.Classification`, without an embedding."""
        assert task.plan, "labels come before scores"
        return {
            "predictions": predictions(task.plan, task.request.threshold, ranking, row),
            "model": self._engine.identity.name,
            "model_digest": self._engine.identity.digest,
            "timing": {
                "queue": task.queue_s,
                "labels": task.labels_s,
                "fetch": task.fetch_s,
                "decode": task.decode_s,
                "batch_wait": max(0.0, batch.began_s - task.prepared_s),
                "forward": batch.run_s,
                "score": score_s,
                "batch_size": len(batch.tasks) if batch.images is None else batch.images,
            },
            "embedding": None,
        }

    def _fail(self, batch: Encoded, error: BaseException) -> None:
        for task in batch.tasks:
            self._failed(task, error)
