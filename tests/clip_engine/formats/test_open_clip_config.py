"""OpenCLIP's config files: what they change, and what in them is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checkpoints import TIMM_WARNINGS, edit_json, refusal
from support.open_clip_folders import SMALL, save_folder, small_oracle
from support.oracles import open_clip_model

from clip_engine import load_engine
from clip_engine.formats import read_checkpoint
from clip_engine.images.normalisation import OPENAI_NORMALISATION
from clip_engine.images.transform import ImageTransform

pytestmark = pytest.mark.filterwarnings(*TIMM_WARNINGS)

CONFIG = "open_clip_config.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder, for tests to break."""
    return save_folder(small_oracle(), SMALL, tmp_path)


def test_the_config_is_part_of_the_digest(folder: Path) -> None:
    before = read_checkpoint(folder).digest()
    edit_json(folder / CONFIG, "model_cfg", quick_gelu=True)
    assert read_checkpoint(folder).digest() != before
    assert len(before) == 64


def test_openais_preprocessing_is_the_default(folder: Path) -> None:
    edit_json(folder / CONFIG, "", preprocess_cfg={})
    assert read_checkpoint(folder).preprocessing.normalisation() == OPENAI_NORMALISATION


# --- what is refused ---


@pytest.mark.parametrize(
    ("tower", "option", "value"),
    [
        ("vision_cfg", "timm_model_name", "vit_base_patch16_siglip_224"),
        ("vision_cfg", "no_ln_pre", True),
        ("vision_cfg", "pool_type", "avg"),
        ("vision_cfg", "attentional_pool", True),
        ("vision_cfg", "ls_init_value", 1e-5),
        ("vision_cfg", "image_size", [56, 28]),
        ("vision_cfg", "width", 0),
        ("vision_cfg", "width", "wide"),
        ("vision_cfg", "never_heard_of", 1),
        ("text_cfg", "hf_model_name", "roberta-base"),
        ("text_cfg", "no_causal_mask", True),
        ("text_cfg", "pool_type", "last"),
        ("text_cfg", "tokenizer_kwargs", {"clean": "canonicalize"}),
        ("text_cfg", "heads", 7),
    ],
)
def test_an_option_that_is_not_built_here_is_named(
    folder: Path, tower: str, option: str, value: object
) -> None:
    # given
    edit_json(folder / CONFIG, "model_cfg", **{tower: SMALL[tower] | {option: value}})
    # then
    message = refusal(folder, read_checkpoint)
    assert repr(str(folder / CONFIG)) in message
    assert option in message


@pytest.mark.parametrize(
    ("option", "value"),
    [("interpolation", "nearest"), ("resize_mode", "stretch"), ("mean", [0.5])],
)
def test_preprocessing_that_is_not_built_here_is_named(
    folder: Path, option: str, value: object
) -> None:
    edit_json(folder / CONFIG, "preprocess_cfg", **{option: value})
    assert f"preprocess_cfg.{option}" in refusal(folder, read_checkpoint)


def test_resizing_is_that_of_the_config(folder: Path) -> None:
    edit_json(folder / CONFIG, "preprocess_cfg", interpolation="bilinear", resize_mode="squash")
    assert load_engine(str(folder)).preprocessor.transform == ImageTransform(
        56, "squash", "bilinear"
    )


def test_a_custom_text_model_and_a_sigmoid_model_are_refused(folder: Path) -> None:
    edit_json(folder / CONFIG, "model_cfg", custom_text=True, init_logit_bias=-10)
    message = refusal(folder, read_checkpoint)
    assert "model_cfg.custom_text" in message
    assert "model_cfg.init_logit_bias is -10" in message


def test_the_config_of_another_model_is_told_with_both_sizes(folder: Path) -> None:
    edit_json(
        folder / CONFIG,
        "model_cfg",
        embed_dim=512,
        vision_cfg=SMALL["vision_cfg"] | {"layers": 12},
    )
    message = refusal(folder)
    assert "embed_dim is 512 in the config and 64 in the weights" in message
    assert "vision_layers is 12 in the config and 2 in the weights" in message


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model_cfg": 1}', "{}", "\xff"])
def test_a_config_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / CONFIG).write_text(text, encoding="latin-1")
    assert CONFIG in refusal(folder)


def test_a_model_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    # given a text tower of 32,000 tokens
    config = SMALL | {"text_cfg": SMALL["text_cfg"] | {"vocab_size": 32000}}
    save_folder(open_clip_model(config, seed=1), config, tmp_path)
    # then
    assert "has 32000 tokens" in refusal(tmp_path)
