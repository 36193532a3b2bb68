"""The file that `labels calibrate --out` writes and `labels put --calibration` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import StrictStr

from clip_worker.contract import LabelSet, LabelSetCalibration, parse
from clip_worker.contract.results import Wire
from clip_worker.contract.text import read_json
from clip_worker.quoting import quote
from worker.cli.output.usage_error import WrongInputError


class CalibrationFile(Wire):
    """A calibration, and which labels it is for.

    Attributes:
        labels_version: Version of a label set of these labels without a calibration.
        calibration: What was fitted.
    """

    labels_version: StrictStr
    calibration: LabelSetCalibration

    @classmethod
    def of(cls, label_set: LabelSet, calibration: LabelSetCalibration) -> Self:
        """The content of the file for a calibration of these labels."""
        return cls(labels_version=_labels_version(label_set), calibration=calibration)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file.

        Raises:
            WrongInputError: It can't be read.
            InvalidRequestError: It is not a calibration.
        """
        try:
            found = read_json(file.read_bytes())
        except OSError as error:
            raise WrongInputError(f"{file} can't be read: {error.strerror}.") from error
        except ValueError as error:
            raise WrongInputError(f"{file} is not valid JSON: {error}.") from error
        if not isinstance(found, dict):
            raise WrongInputError(
                f"{file} is not a calibration; give what `clip-worker labels calibrate --out` "
                "wrote."
            )
        return parse(cls, found)

    def check_labels(self, file: Path, label_set: LabelSet) -> None:
        """Check that the calibration is for these labels.

        Raises:
            WrongInputError: It was fitted to others, or to the same in another order.
        """
        if self.labels_version != _labels_version(label_set):
            raise WrongInputError(
                f"The calibration in {quote(str(file))} is for other labels, or for these in "
                "another order; fit it again with `clip-worker labels calibrate`."
            )


def _labels_version(label_set: LabelSet) -> str:
    return LabelSet(labels=label_set.labels, hierarchical=label_set.hierarchical).version
