"""The config files of a Hugging Face folder.

Field names and defaults are those of transformers' `configuration_clip.py` and
`CLIPImageProcessor`. A field for a feature that isn't supported accepts only the value that turns
it off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from clip_engine.formats.config_file import read_config
from clip_engine.formats.preprocessing import Preprocessing
from clip_engine.images.normalisation import OPENAI_NORMALISATION, RGB
from clip_engine.model import Activation, Traits

# Of LayerNorm; the only value supported, with a tolerance because it is a float.
Epsilon = Annotated[float, Field(ge=0.99e-5, le=1.01e-5)]


class _Tower(BaseModel):
    model_config = ConfigDict(frozen=True)

    hidden_size: PositiveInt
    num_attention_heads: PositiveInt
    num_hidden_layers: PositiveInt = 12
    hidden_act: Activation = "quick_gelu"
    layer_norm_eps: Epsilon = 1e-5

    @model_validator(mode="after")
    def _whole_heads(self) -> _Tower:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )
        return self

    @property
    def head_width(self) -> int:
        """Width of an attention head."""
        return self.hidden_size // self.num_attention_heads


class TextConfig(_Tower):
    """`text_config`."""

    hidden_size: PositiveInt = 512
    num_attention_heads: PositiveInt = 8
    max_position_embeddings: PositiveInt = 77
    vocab_size: PositiveInt = 49408
    eos_token_id: Literal[2, 49407] = 49407


class VisionConfig(_Tower):
    """`vision_config`."""

    hidden_size: PositiveInt = 768
    num_attention_heads: PositiveInt = 12
    image_size: PositiveInt = 224
    patch_size: PositiveInt = 32
    num_channels: Literal[3] = 3


class HuggingFaceConfig(BaseModel):
    """`config.json` of a `CLIPModel`."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_type: Literal["clip"]
    projection_dim: PositiveInt = 512
    text: TextConfig = Field(TextConfig(), alias="text_config")
    vision: VisionConfig = Field(VisionConfig(), alias="vision_config")

    @model_validator(mode="before")
    @classmethod
    def _merge_older_names(cls, data: Any) -> Any:
        """`text_config_dict` and `vision_config_dict` take precedence, as in transformers."""
        if not isinstance(data, dict):
            return data
        merged = dict(data)
        for name in ("text_config", "vision_config"):
            parts = (data.get(name), data.get(f"{name}_dict"))
            merged[name] = {
                k: v for part in parts if isinstance(part, dict) for k, v in part.items()
            }
        return merged

    @model_validator(mode="after")
    def _one_activation(self) -> HuggingFaceConfig:
        if self.text.hidden_act != self.vision.hidden_act:
            raise ValueError(
                f"hidden_act is {self.text.hidden_act!r} for text and {self.vision.hidden_act!r} "
                "for images; both towers must have the same"
            )
        return self

    def traits(self) -> Traits:
        """What the weights don't determine."""
        return Traits(
            activation=self.text.hidden_act,
            vision_head_width=self.vision.head_width,
            transformer_head_width=self.text.head_width,
        )

    def sizes(self) -> dict[str, object]:
        """Sizes that must match the weights, by `CLIPConfig`'s names."""
        return {
            "embed_dim": self.projection_dim,
            "image_resolution": self.vision.image_size,
            "vision_layers": self.vision.num_hidden_layers,
            "vision_width": self.vision.hidden_size,
            "vision_patch_size": self.vision.patch_size,
            "context_length": self.text.max_position_embeddings,
            "vocab_size": self.text.vocab_size,
            "transformer_width": self.text.hidden_size,
            "transformer_layers": self.text.num_hidden_layers,
        }


class ShortestEdge(BaseModel):
    """`size` of a processor that keeps the aspect ratio."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shortest_edge: PositiveInt


class Square(BaseModel):
    """`size` of a processor that doesn't keep it, and `crop_size`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: PositiveInt
    width: PositiveInt

    @model_validator(mode="after")
    def _is_square(self) -> Square:
        if self.height != self.width:
            raise ValueError(f"{self.height} x {self.width} pixels; images must be square")
        return self


class ImageProcessor(BaseModel):
    """`preprocessor_config.json`, or `image_processor` of the newer `processor_config.json`."""

    model_config = ConfigDict(frozen=True)

    image_mean: RGB = OPENAI_NORMALISATION.mean
    image_std: RGB = OPENAI_NORMALISATION.std
    resample: Literal[2, 3] = 3  # Pillow's numbers for bilinear and bicubic
    do_normalize: Literal[True] = True
    do_resize: Literal[True] = True
    size: PositiveInt | ShortestEdge | Square | None = None
    crop_size: PositiveInt | Square | None = None

    @model_validator(mode="after")
    def _crop_keeps_the_size(self) -> ImageProcessor:
        cropped = self.crop_size.height if isinstance(self.crop_size, Square) else self.crop_size
        if isinstance(self.size, ShortestEdge) and cropped not in (None, self.size.shortest_edge):
            raise ValueError(
                f"size.shortest_edge is {self.size.shortest_edge} and crop_size {cropped}; they "
                "must be the same"
            )
        return self

    def preprocessing(self) -> Preprocessing:
        """The same in open_clip's words."""
        return Preprocessing(
            mean=self.image_mean,
            std=self.image_std,
            interpolation="bilinear" if self.resample == 2 else "bicubic",
            resize_mode="squash" if isinstance(self.size, Square) else "shortest",
        )


class Processor(BaseModel):
    """`processor_config.json`."""

    model_config = ConfigDict(frozen=True)

    image_processor: ImageProcessor = ImageProcessor()


def read_preprocessing(folder: Path) -> tuple[Preprocessing, tuple[Path, ...]]:
    """What a folder's processor config says, and that file; OpenAI's preprocessing without one.

    Raises:
        CheckpointError: The file describes unsupported preprocessing.
    """
    older, newer = folder / "preprocessor_config.json", folder / "processor_config.json"
    if older.is_file():
        return read_config(older, ImageProcessor).preprocessing(), (older,)
    if newer.is_file():
        return read_config(newer, Processor).image_processor.preprocessing(), (newer,)
    return Preprocessing(), ()
