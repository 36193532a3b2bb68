"""Normalisation of pixels by mean and standard deviation, before the image tower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

RGB: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """Each channel becomes `(value - mean) / std`; the defaults are OpenAI's.

    Attributes:
        mean: Of the training images' red, green and blue, in [0, 1] (openai/CLIP, clip/clip.py).
        std: Their standard deviations.
    """

    mean: RGB = (0.48145466, 0.4578275, 0.40821073)
    std: RGB = (0.26862954, 0.26130258, 0.27577711)


OPENAI_NORMALISATION = Normalisation()
