"""The labels that a gallery is tagged with, and suggestions for them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from limits import MAX_LABEL_CHARS, MAX_LABELS
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Label = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_LABEL_CHARS)
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LABEL_CHARS)]


class Labels(BaseModel):
    """Either labels that were typed, or the name of a stored label set.

    Attributes:
        labels: Without repetitions; empty with a label set.
        label_set: Its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: Annotated[tuple[Label, ...], Field(max_length=MAX_LABELS)] = ()
    label_set: Name | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.labels) == bool(self.label_set):
            raise ValueError("Give labels or the name of a label set.")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("Give each label once.")
        return self

    def options(self) -> dict[str, Any]:
        """Arguments of `AsyncClient.classify_many`."""
        if self.label_set:
            return {"label_set": self.label_set}
        # The probability of a single label is 1, unless something else may be the answer.
        return {"labels": self.labels, "none_of_these": len(self.labels) == 1}


SUGGESTIONS: Final = {
    "Mixture": ("red", "blue", "striped", "star", "moon", "grass", "night sky", "three"),
    "Shapes": ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "moon"),
    "Colours": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    "Patterns": ("solid", "striped", "dotted", "hollow"),
    "Places": ("grass", "sand", "night sky", "white background", "black background"),
    "Photos": ("a person", "an animal", "food", "a landscape", "a building", "a document"),
}  # the demo model knows all but the last
FIRST: Final = Labels(labels=SUGGESTIONS["Mixture"])
