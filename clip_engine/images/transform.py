"""How an image becomes the square of pixels that a model takes; the words are open_clip's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

ResizeMode: TypeAlias = Literal["shortest", "longest", "squash"]
Interpolation: TypeAlias = Literal["bicubic", "bilinear"]


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """Size, resize mode and interpolation of a model's input (open_clip, `PreprocessCfg`).

    Attributes:
        resolution: R, pixels a side.
        resize: `shortest`: the shortest side becomes R, and the centre is kept. `longest`: the
            longest side becomes R, and the rest is padded. `squash`: both sides become R.
        interpolation: Of the resampling, which is antialiased.
        fill: Level of the padding of `longest`, 0 to 255.
    """

    resolution: int
    resize: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill: int = 0
