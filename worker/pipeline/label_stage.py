"""First stage: the labels of each image task, and their text features.

Labels come first, so that a label that is too long costs no fetch. Tasks whose features are cached
are handed on at once. New labels are encoded on a separate thread, those of all tasks that arrived
meanwhile together, so that no image waits for labels that are not its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from worker.pipeline.batch_thread import BatchThread
from worker.pipeline.core_share import CoreShare
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.scoring_plan import ReadsLabelSets, ScoringPlan, ScoringPlanner

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine
    from clip_engine.scoring.text_features import TextFeatures

Failed = Callable[[ImageTask, BaseException], None]


class LabelStage:
    """Sets `plan` and `text` of image tasks. Threads may share it.

    Args:
        engine: The model, with its label cache.
        label_sets: Where named sets are read; None if no request may name one.
        cores: Shared by the forward passes.
        then: The next stage.
        failed: Takes a task whose labels can't be had, and why.
        clock: Seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        engine: Engine,
        label_sets: ReadsLabelSets | None,
        *,
        cores: CoreShare,
        then: Callable[[Sequence[ImageTask]], None],
        failed: Failed,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._planner = ScoringPlanner(engine, label_sets)
        self._cores = cores
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
                plan = self._planner.of_labels(request)
                if (text := self._cached(plan)) is not None:
                    _set(of_request, plan, text)
                    known += of_request
                    continue
            unknown += of_request
        self._thread.put(unknown)
        if known:
            self._then(known)

    def _cached(self, plan: ScoringPlan) -> TextFeatures | None:
        """The features of all that a plan lists, if each list is cached."""
        found: list[Tensor] = []
        for labels, templates in plan.lists:
            if (features := self._engine.labels.find(labels, templates)) is None:
                return None
            found.append(features)
        return self._engine.text_features(found)

    def _encode(self, tasks: Sequence[ImageTask]) -> None:
        start_s = self._clock()
        planned: list[tuple[list[ImageTask], ScoringPlan]] = []
        for request, of_request in _by_request(tasks):
            make = self._planner.of_labels if request.labels else self._planner.of_label_set
            try:
                planned.append((of_request, make(request)))
            except BaseException as error:  # noqa: BLE001  # `failed` ends the tasks
                self._fail(of_request, error)
        lists = [each for _, plan in planned for each in plan.lists]
        with self._cores.forward_pass():
            outcomes = iter(self._engine.labels.get_all(lists))
        ready: list[ImageTask] = []
        for of_request, plan in planned:
            found = list(islice(outcomes, len(plan.lists)))
            features = [each for each in found if not isinstance(each, Exception)]
            errors = [each for each in found if isinstance(each, Exception)]
            if errors:
                self._fail(of_request, errors[0])
            else:
                text = self._engine.text_features(features)
                _set(of_request, plan, text, self._clock() - start_s)
                ready += of_request
        if ready:
            self._then(ready)

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
    tasks: Sequence[ImageTask], plan: ScoringPlan, text: TextFeatures, seconds: float = 0.0
) -> None:
    for task in tasks:
        task.plan, task.text, task.labels_s = plan, text, seconds
