"""What `labels calibrate` says about a calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clip_worker.quoting import quote
from worker.cli.labels.counted import counted

if TYPE_CHECKING:
    from clip_engine.scoring.cross_validation import CrossValidation
    from clip_worker.contract import LabelSetCalibration

MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Report:
    """A calibration and how good it is.

    Attributes:
        calibration: Fitted to all images.
        checked: Measured on images that it was not fitted to.
        labels: The labels.
        counts: Number of images of each label.
        without_label: Number of images that no label fits.
        fewest: Images that a label needs for a threshold.
    """

    calibration: LabelSetCalibration
    checked: CrossValidation
    labels: Sequence[str]
    counts: Sequence[int]
    without_label: int
    fewest: int

    def json_object(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "calibration": {"id": self.calibration.id, **self.calibration.model_dump(mode="json")},
            **asdict(self.checked),
            "images": self.calibration.rows,
            "images_without_label": self.without_label,
            "labels_without_threshold": self._without_threshold(),
        }

    def lines(self) -> Iterator[str]:
        """What is printed."""
        before, after, kept = self.checked.before, self.checked.after, self.checked.thresholds
        labels = counted(len(self.labels), "label")
        images = counted(self.calibration.rows, "image")
        yield f"Fitted to {images} for {labels}, {self.without_label:,} of them without a label."
        yield ""
        yield f"{'on images that were left out of the fit':40}  before   after"
        for name, old, new in (
            ("calibration error (ECE)", before.calibration_error, after.calibration_error),
            ("accuracy, with none of these", before.accuracy, after.accuracy),
            ("precision of none of these", before.none_precision, after.none_precision),
            ("recall of none of these", before.none_recall, after.none_recall),
            ("precision of the thresholds", None, kept.precision),
            ("recall of the thresholds", None, kept.recall),
        ):
            yield f"{name:40}  {_number(old):>6}  {_number(new):>6}"
        yield ""
        yield f"temperature  {self.calibration.temperature:.4g}"
        yield f"none bias    {self._none_bias()}"
        yield f"thresholds   {self._thresholds()}"

    def _none_bias(self) -> str:
        shown = f"{self.calibration.none_bias:.4g}"
        if self.without_label or self.calibration.score == "sigmoid":
            return shown
        return f"{shown}, because no image is without a label"

    def _without_threshold(self) -> list[str]:
        thresholds = self.calibration.thresholds or ()
        pairs = zip(self.labels, thresholds, strict=True)
        return [label for label, threshold in pairs if threshold is None]

    def _thresholds(self) -> str:
        missing = self._without_threshold()
        found = len(self.labels) - len(missing)
        if not missing:
            return f"for all {counted(found, 'label')}"
        named = ", ".join(self._with_count(label) for label in missing[:MOST_NAMES])
        more = f" and {len(missing) - MOST_NAMES:,} more" if len(missing) > MOST_NAMES else ""
        return (
            f"for {found:,} of {counted(len(self.labels), 'label')}; these have fewer than "
            f"{self.fewest} images, or all: {named}{more}"
        )

    def _with_count(self, label: str) -> str:
        return f"{quote(label)} ({self.counts[self.labels.index(label)]})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
