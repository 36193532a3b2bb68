"""How labels are scored: the options of a request, and the numbers of a calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from clip_engine.errors import InputError
from clip_engine.quoting import quoted

Score: TypeAlias = Literal["softmax", "sigmoid", "cosine", "logit"]
SCORES: tuple[Score, ...] = get_args(Score)


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is asked about the labels of an image.

    Attributes:
        score: What orders the labels: `softmax`, a probability among all labels; `sigmoid`, a
            probability for each label by itself; `cosine` or `logit`, the model's own numbers, in
            addition to the softmax.
        none_of_these: Whether the probability that no label fits is asked too.
        temperature: Logits are divided by it before they become probabilities; of a calibration.
        none_bias: Added to the logit of "none of these"; of a calibration.

    Raises:
        InputError: The score is unknown, or a number is not finite or the temperature not positive.
    """

    score: Score = "softmax"
    none_of_these: bool = False
    temperature: float = 1.0
    none_bias: float = 0.0

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise InputError(
                f"Unknown score {quoted(self.score)}; give one of {', '.join(SCORES)}."
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(
                f"Invalid temperature {self.temperature!r}; give a finite number above 0."
            )
        if not math.isfinite(self.none_bias):
            raise InputError(f"Invalid none_bias {self.none_bias!r}; give a finite number.")


SOFTMAX = Scoring()
