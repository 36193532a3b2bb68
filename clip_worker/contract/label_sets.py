"""Label sets as they are stored in Redis: labels under a name, a hierarchy, a calibration."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, StrictBool, StrictInt, StrictStr, ValidationInfo, field_validator

from clip_worker.contract.faults import FaultError
from clip_worker.contract.option_types import (
    DEFAULT_SCORE,
    Labels,
    Number,
    Score,
    Template,
    Templates,
    check_threshold,
)
from clip_worker.contract.results import Wire
from clip_worker.contract.text import read_json
from clip_worker.quoting import quote

SEPARATOR = ">"  # between the parts of a path, with or without blanks around it
VERSION_DIGITS = 12
# Of what is stored: JSON of other kinds takes 25 times its size when it is parsed, and whoever may
# store label sets must not be able to fill a worker's memory.
MOST_BYTES = 32 * 1024 * 1024


class LabelSetCalibration(Wire):
    """What `clip-worker labels calibrate` has fitted to labelled images.

    It is applied to requests with the model, the templates and the score that it was fitted with.

    Attributes:
        temperature: Logits are divided by it.
        none_bias: Added to the logit of "none of these".
        thresholds: For each label its least score, None for one with too few images; None if there
            are none.
        model_digest: SHA-256 of the model's checkpoint.
        templates: The prompts.
        score: The score.
        rows: How many images it was fitted to.
    """

    temperature: Annotated[Number, Field(gt=0)] = 1.0
    none_bias: Number = 0.0
    thresholds: tuple[Number | None, ...] | None = None
    model_digest: StrictStr
    templates: Annotated[tuple[Template, ...], Field(min_length=1)]
    score: Score
    rows: Annotated[StrictInt, Field(ge=0)]

    @cached_property
    def id(self) -> str:
        """12 hexadecimal digits that depend only on its content."""
        return _digest(self.model_dump(mode="json"))


class LabelSet(Wire):
    """Labels that are stored under a name.

    Attributes:
        hierarchical: Whether the labels are paths such as `animal > dog > beagle`, of which prompts
            get the last part.
        labels: All different; paths with one blank on each side of a `>`.
        calibration: For these labels, if there is one.
        templates: Prompts of requests that give none of their own; None for the usual one.
        score: The score that `thresholds` are for: they count for requests with this score.
        thresholds: For each label its least score, or None. A request's own threshold and those of
            a calibration that fits the request go before them. None if there are none.
        number: Of the version, from 1 on; None before the set is stored, and where a version of
            clip-worker without numbers has stored it.
    """

    hierarchical: StrictBool = False
    labels: Labels
    calibration: LabelSetCalibration | None = None
    templates: Templates | None = None
    score: Score = DEFAULT_SCORE
    thresholds: tuple[Number | None, ...] | None = None
    number: Annotated[StrictInt, Field(ge=1)] | None = None

    @field_validator("labels")
    @classmethod
    def _paths(cls, labels: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        return _check_paths(labels) if others.data.get("hierarchical") else labels

    @field_validator("calibration")
    @classmethod
    def _one_fitted_threshold_a_label(
        cls, calibration: LabelSetCalibration | None, others: ValidationInfo
    ) -> LabelSetCalibration | None:
        labels = others.data.get("labels")  # None if they are invalid
        thresholds = calibration.thresholds if calibration else None
        if labels and thresholds is not None and len(thresholds) != len(labels):
            raise FaultError(
                f"The calibration has {len(thresholds)} thresholds for {len(labels)} labels; fit "
                "it again with these labels.",
                "BAD_CALIBRATION",
            )
        return calibration

    @field_validator("thresholds")
    @classmethod
    def _one_threshold_a_label(
        cls, thresholds: tuple[float | None, ...] | None, others: ValidationInfo
    ) -> tuple[float | None, ...] | None:
        labels = others.data.get("labels")
        if labels and thresholds is not None and len(thresholds) != len(labels):
            raise FaultError(
                f"There are {len(thresholds)} thresholds for {len(labels)} labels; give one for "
                "each label, null for a label without one.",
                "BAD_LABELS",
            )
        for threshold in thresholds or ():
            if threshold is not None:
                check_threshold(threshold, others)
        return thresholds

    @cached_property
    def version(self) -> str:
        """12 hexadecimal digits that depend only on the content."""
        is_plain = not (self.hierarchical or self.calibration or self.templates or self.thresholds)
        return _digest(list(self.labels) if is_plain else self._content())

    def to_json(self) -> str:
        """What is stored, but for the number."""
        return json.dumps({"version": self.version, **self._content()})

    def _content(self) -> dict[str, Any]:
        """What the version depends on. Later fields are left out where they are not used.

        Without them it is what earlier versions of clip-worker wrote, with the same digest.
        """
        unused = {"number"} | ({"templates"} if self.templates is None else set())
        if self.thresholds is None:
            unused |= {"thresholds", "score"}
        return self.model_dump(mode="json", exclude=unused)

    @classmethod
    def from_json(cls, stored: bytes) -> Self:
        """Read what is stored, also by other versions of clip-worker; unknown fields are ignored.

        Raises:
            ValueError: It is not a label set, or has more than `MOST_BYTES`.
        """
        if len(stored) > MOST_BYTES:
            raise ValueError(f"it has {len(stored)} bytes, more than {MOST_BYTES}")
        fields = read_json(stored)
        if isinstance(fields, dict):
            fields = {name: fields[name] for name in cls.model_fields if name in fields}
        return cls.model_validate(fields)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:VERSION_DIGITS]


def _check_paths(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The paths, spelled alike.

    >>> _check_paths(("animal>cat", "animal > dog > beagle"))
    ('animal > cat', 'animal > dog > beagle')
    """
    paths: dict[str, None] = {}
    for label in labels:
        parts = [part.strip() for part in label.split(SEPARATOR)]
        if not all(parts):
            raise FaultError(
                f"The label {quote(label)} has a blank part; give a path such as 'animal > dog'.",
                "BAD_LABELS",
            )
        path = f" {SEPARATOR} ".join(parts)
        if path in paths:
            raise FaultError(
                f"The label {quote(label)} is there twice; give each label once.", "DUPLICATE_LABEL"
            )
        paths[path] = None
    return tuple(paths)
