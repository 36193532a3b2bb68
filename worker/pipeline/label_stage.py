"""First stage: the labels of each image task, and their text features.

Labels come first, so that a label that is too long costs no fetch. Tasks whose features are cached
are handed on at once. New labels are encoded on a separate thread, those of all tasks that arrived
meanwhile together, so that no image waits for labels that are not its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from worker.pipeline.batch_thread import BatchThread
from worker.pipeline.image_task import ImageTask, TaggingRequest

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.label_cache import LabelFeatures
    from clip_worker.contract import LabelSet

Failed = Callable[[ImageTask, BaseException], None]


class ReadsLabelSets(Protocol):
    """Gives the label set that is stored under a name; `clip_worker.redis.label_sets` does."""

    def get(self, name: str) -> LabelSet:
        """The set, or an error of `clip_worker.errors`."""


class LabelStage:
    """Sets `labels` and `label_features` of image tasks. Threads may share it.

    Args:
        features: The engine's label cache.
        label_sets: Where named sets are read; None if no request may name one.
        then: The next stage.
        failed: Takes a task whose labels can't be had, and why.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        features: LabelFeatures,
        label_sets: ReadsLabelSets | None,
        *,
        then: Callable[[Sequence[ImageTask]], None],
        failed: Failed,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._features = features
        self._label_sets = label_sets
        self._then = then
        self._failed = failed
        self._clock = clock
        self._thread: BatchThread[ImageTask] = BatchThread("labels", self._encode, failed)
        self.stop = self._thread.stop

    def run(self, tasks: Sequence[ImageTask]) -> None:
        """Hand on the tasks whose features are cached, and encode the labels of the others."""
        known, unknown = [], []
        for request, of_request in _by_request(tasks):
            if request.labels:
                features = self._features.find(request.labels, request.templates)
                if features is not None:
                    _set(of_request, request.labels, features)
                    known += of_request
                    continue
            unknown += of_request
        self._thread.put(unknown)
        if known:
            self._then(known)

    def _encode(self, tasks: Sequence[ImageTask]) -> None:
        start_s = self._clock()
        found: list[tuple[list[ImageTask], tuple[str, ...], tuple[str, ...]]] = []
        for request, of_request in _by_request(tasks):
            try:
                labels = request.labels or self._read(str(request.label_set))
            except BaseException as error:  # noqa: BLE001  # `failed` ends the tasks
                self._fail(of_request, error)
            else:
                found.append((of_request, labels, request.templates))
        outcomes = self._features.get_all([(labels, templates) for _, labels, templates in found])
        ready: list[ImageTask] = []
        for (of_request, labels, _), outcome in zip(found, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._fail(of_request, outcome)
            else:
                _set(of_request, labels, outcome, self._clock() - start_s)
                ready += of_request
        if ready:
            self._then(ready)

    def _read(self, name: str) -> tuple[str, ...]:
        assert self._label_sets is not None, "requests name label sets only where there are some"
        return self._label_sets.get(name).labels

    def _fail(self, tasks: Sequence[ImageTask], error: BaseException) -> None:
        for task in tasks:
            self._failed(task, error)


def _by_request(tasks: Sequence[ImageTask]) -> list[tuple[TaggingRequest, list[ImageTask]]]:
    """Tasks that share a request object together."""
    found: dict[int, tuple[TaggingRequest, list[ImageTask]]] = {}
    for task in tasks:
        found.setdefault(id(task.request), (task.request, []))[1].append(task)
    return list(found.values())


def _set(
    tasks: Sequence[ImageTask], labels: tuple[str, ...], features: Tensor, seconds: float = 0.0
) -> None:
    for task in tasks:
        task.labels, task.label_features, task.labels_s = labels, features, seconds
