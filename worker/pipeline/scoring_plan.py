"""From a request to the texts that its images are compared with, and how they are scored."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Protocol

from clip_engine.prompts import DEFAULT_TEMPLATE
from clip_engine.scoring.hierarchy import LabelTree
from clip_engine.scoring.options import SOFTMAX, Score, Scoring
from clip_worker.contract.label_set_names import exact_name

if TYPE_CHECKING:
    from clip_engine.engine import Engine
    from clip_engine.scoring.text_features import TextList
    from clip_worker.contract import LabelSet, LabelSetCalibration
    from worker.pipeline.image_task import TaggingRequest

logger = logging.getLogger(__name__)

MOST_KEPT = 16  # plans of label sets, and lists of texts
QUIET_S = 60.0  # between two warnings about the same label set


class ReadsLabelSets(Protocol):
    """Gives the label set that is stored under a name; `clip_worker.redis.label_sets` does."""

    def get(self, name: str) -> LabelSet:
        """The set, or an error of `clip_worker.errors`."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoringPlan:
    """The labels of a request, and how they are scored.

    Attributes:
        labels: L of them, as results name them.
        lists: The labels and templates whose features are needed, the prompts' own first.
        scoring: For the engine.
        tree: Of hierarchical labels.
        thresholds: Of the label set, or of a calibration that is applied: the least score of each
            label, or None.
        label_set: JSON-ready `clip_worker.contract.UsedLabelSet`, if the request names one.
    """

    labels: tuple[str, ...]
    lists: tuple[TextList, ...]
    scoring: Scoring = SOFTMAX
    tree: LabelTree | None = None
    thresholds: tuple[float | None, ...] | None = None
    label_set: Mapping[str, str | None] | None = None


class ScoringPlanner:
    """Makes plans. Threads may share it.

    Args:
        engine: The model.
        label_sets: Where named sets are read; None if no request may name one.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        label_sets: ReadsLabelSets | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._label_sets = label_sets
        self._clock = clock
        self._warned: dict[str, float] = {}  # by label set: when
        self._lists = lru_cache(MOST_KEPT)(engine.text_lists)
        self._planned = lru_cache(MOST_KEPT)(self._plan)

    def of_labels(self, request: TaggingRequest) -> ScoringPlan:
        """The plan of a request with labels; it is made without waiting for anything."""
        scoring = _scoring(request.score, request.none_of_these)
        # Without `none_of_these` the usual score needs one list, which takes no time to make.
        lists = self._engine.text_lists if scoring is SOFTMAX else self._lists
        return ScoringPlan(
            request.labels, lists(request.labels, request.templates, scoring), scoring
        )

    def of_label_set(self, request: TaggingRequest) -> ScoringPlan:
        """The plan of a request that names a label set.

        Raises:
            ClipWorkerError: The set can't be read.
        """
        assert self._label_sets is not None, "requests name label sets only where there are some"
        name = str(request.label_set)
        label_set = self._label_sets.get(name)
        templates = request.templates or label_set.templates or (DEFAULT_TEMPLATE,)
        reason = self._unfit(label_set.calibration, templates, request.score)
        if reason:
            self._warn(name, reason)
        scoring = _scoring(request.score, request.none_of_these)
        return self._planned(name, label_set, templates, scoring, is_calibrated=reason is None)

    def _plan(
        self,
        name: str,
        label_set: LabelSet,
        templates: tuple[str, ...],
        scoring: Scoring,
        *,
        is_calibrated: bool,
    ) -> ScoringPlan:
        calibration = label_set.calibration if is_calibrated else None
        thresholds = label_set.thresholds if scoring.score == label_set.score else None
        if calibration:
            thresholds = calibration.thresholds or thresholds
            scoring = Scoring(
                scoring.score,
                scoring.none_of_these,
                calibration.temperature,
                calibration.none_bias,
            )
        tree = LabelTree.of(label_set.labels) if label_set.hierarchical else None
        return ScoringPlan(
            label_set.labels,
            self._engine.text_lists(tree.leaves if tree else label_set.labels, templates, scoring),
            scoring,
            tree,
            thresholds,
            {
                "name": exact_name(name, label_set.number),
                "version": label_set.version,
                "calibration": calibration.id if calibration else None,
            },
        )

    def _unfit(
        self, calibration: LabelSetCalibration | None, templates: tuple[str, ...], score: Score
    ) -> str | None:
        """Why a calibration can't be applied; None if it can, or if there is none."""
        if calibration is None:
            return None
        if calibration.model_digest != self._engine.identity.digest:
            return f"it was fitted for another model than {self._engine.identity.name!r}"
        if calibration.templates != templates:
            return "it was fitted with other templates than the request's or the label set's"
        if calibration.score != score:
            return f"it was fitted for the score {calibration.score!r}, not {score!r}"
        return None

    def _warn(self, name: str, reason: str) -> None:
        now = self._clock()
        if now - self._warned.get(name, float("-inf")) >= QUIET_S:
            self._warned[name] = now
            logger.warning(
                "The calibration of the label set %r is not applied: %s. Fit it again with "
                "`clip-worker labels calibrate`, or store the labels without it.",
                name,
                reason,
            )


@cache
def _scoring(score: Score, none_of_these: bool) -> Scoring:  # noqa: FBT001  # as in a request
    """The same object for the same options, so that images can be grouped by its identity."""
    scoring = Scoring(score, none_of_these)
    return SOFTMAX if scoring == SOFTMAX else scoring
