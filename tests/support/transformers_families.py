"""Small models of transformers' families, with random weights, in folders as it saves them.

    saved = save_model("siglip2", tmp_path)

writes config, weights, tokenizer and the image processor's config, and keeps transformers' own
model, tokenizer and image processor, to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import transformers
from support import tiny_tokenizers
from support.oracles import SIGMOID_BIAS, fill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image
    from torch import Tensor

TOWER = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = TOWER | {"image_size": 64, "patch_size": 16}
SIDE = {"height": 64, "width": 64}


def _siglip(text: dict[str, int]) -> Any:
    tokens = {"bos_token_id": 2, "eos_token_id": 1, "max_position_embeddings": 64}
    config = transformers.SiglipConfig(
        text_config=TOWER | tokens | text | {"projection_size": 64}, vision_config=VISION
    )
    return transformers.SiglipModel(config)


def _metaclip2() -> Any:
    tokens = {"vocab_size": 640, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    config = transformers.MetaClip2Config(
        text_config=TOWER | tokens | {"max_position_embeddings": 77},
        vision_config=VISION,
        projection_dim=48,
    )
    return transformers.MetaClip2Model(config)


MODELS = {
    "siglip": (
        lambda: _siglip({"vocab_size": 640}),
        tiny_tokenizers.write_t5,
        lambda: transformers.SiglipImageProcessor(size=SIDE, resample=3),
    ),
    "siglip2": (
        lambda: _siglip({"vocab_size": 640}),
        tiny_tokenizers.write_gemma,
        lambda: transformers.SiglipImageProcessor(size=SIDE, resample=2),
    ),
    "metaclip2": (
        _metaclip2,
        tiny_tokenizers.write_xlm_roberta,
        lambda: transformers.CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=SIDE),
    ),
}


@dataclass(frozen=True)
class SavedModel:
    """A folder, and transformers' own objects of it."""

    path: Path
    model: Any
    tokenizer: Any
    processor: Any
    lower: bool

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """As its documentation says: padded to the length of the training, SigLIP's lowered."""
        length = self.model.config.text_config.max_position_embeddings
        texts = [text.lower() if self.lower else text for text in texts]
        rows = self.tokenizer(
            texts, padding="max_length", max_length=length, return_tensors="pt", truncation=True
        )
        tokens: Tensor = rows["input_ids"]
        return tokens

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Images as the model's input."""
        pixels: Tensor = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels


def save_model(name: str, folder: Path) -> SavedModel:
    """Write a model with random weights."""
    build, write_tokenizer, build_processor = MODELS[name]
    model, processor = fill(build(), seed=11), build_processor()
    lower = name.startswith("siglip")
    if lower:
        model.logit_bias.data.fill_(SIGMOID_BIAS)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_tokenizer(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return SavedModel(folder, model, tokenizer, processor, lower)
