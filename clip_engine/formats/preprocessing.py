"""What a config says about preparing images, in open_clip's words (`PreprocessCfg`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clip_engine.images.normalisation import OPENAI_NORMALISATION, RGB, Normalisation
from clip_engine.images.transform import ImageTransform, Interpolation, ResizeMode


class Preprocessing(BaseModel):
    """`preprocess_cfg`. An entry of null counts as absent; the size is the model's."""

    model_config = ConfigDict(frozen=True)

    mode: Literal["RGB"] = "RGB"
    mean: RGB = OPENAI_NORMALISATION.mean
    std: RGB = OPENAI_NORMALISATION.std
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    resize_mode: ResizeMode = "shortest"
    fill_color: Annotated[int, Field(ge=0, le=255)] = 0

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value is not None}

    def normalisation(self) -> Normalisation:
        """Of the pixels."""
        return Normalisation(self.mean, self.std)

    def transform(self, resolution: int) -> ImageTransform:
        """To a square of this many pixels a side."""
        chosen: Interpolation = "bilinear" if self.interpolation == "bilinear" else "bicubic"
        return ImageTransform(resolution, self.resize_mode, chosen, self.fill_color)
