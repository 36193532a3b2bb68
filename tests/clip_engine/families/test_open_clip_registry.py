"""Every architecture that open_clip has is one that this package builds."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch

from clip_engine.families.open_clip_model import empty_model
from clip_engine.families.open_clip_tokenizer import HUB_OPTIONS
from clip_engine.families.open_clip_towers import image_tokens, resolution_of

TOKENS = {
    "ViT-B-16-SigLIP": 196,
    "ViT-H-14-378-quickgelu": 730,  # DFN's
    "EVA02-L-14": 257,
    "MobileCLIP2-S4": 256,
    "PE-Core-bigG-14-448": 1024,
    "convnext_xxlarge": 256,
    "swin_base_patch4_window7_224": 196,
    "ViTamin-XL-384": 576,
    "coca_ViT-L-14": 257,
    "RN50x4": 324,
}


def build_without_weights(name: str) -> tuple[int, int]:
    """Resolution and tokens of an architecture, without memory for its weights."""
    config = open_clip.get_model_config(name)
    assert set(config["text_cfg"].get("tokenizer_kwargs") or {}) <= HUB_OPTIONS
    if config["text_cfg"].pop("hf_model_name", None):  # needs a file of the hub
        config["custom_text"] = True
    with torch.device("meta"):
        model = empty_model(config, Path(name))
    resolution = resolution_of(model.visual)
    return resolution, image_tokens(model.visual, resolution)


@pytest.mark.parametrize("name", list(TOKENS))
def test_batch_sizes_follow_from_the_tokens_of_an_image(name: str) -> None:
    assert build_without_weights(name)[1] == TOKENS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", open_clip.list_models())
def test_every_registered_architecture_is_built(name: str) -> None:
    resolution, tokens = build_without_weights(name)
    assert 224 <= resolution <= 512
    assert 49 <= tokens <= 1025
