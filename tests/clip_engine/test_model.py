"""Both towers, small, against open_clip's; test_oracle_architectures has those of true size."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.oracles import (
    PROMPTS,
    assert_agree,
    open_clip_answers,
    open_clip_model,
    our_answers,
    pictures,
)
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_state, tokenizer
from torch.nn.functional import normalize

from clip_engine.errors import CheckpointError
from clip_engine.model import CLIP, CLIPConfig, build_model, infer_config

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:timm", "ignore::UserWarning:timm")


def published(**numbers: Any) -> CLIPConfig:
    """One of OpenAI's models; embed_dim, resolution, layers, width, patch and text width differ."""
    return CLIPConfig(transformer_layers=12, **numbers)


def resnet(layers: tuple[int, int, int, int], width: int, r: int, d: int, text: int) -> CLIPConfig:
    return published(
        embed_dim=d,
        image_resolution=r,
        vision_layers=layers,
        vision_width=width,
        vision_patch_size=None,
        transformer_width=text,
    )


def vit(  # rows of a table
    patch: int, layers: int, width: int, r: int, d: int, text: int
) -> CLIPConfig:
    return published(
        embed_dim=d,
        image_resolution=r,
        vision_layers=layers,
        vision_width=width,
        vision_patch_size=patch,
        transformer_width=text,
    )


# Table 19 and 20 of the paper; RN50x4's and x16's towers follow its section 2.4.
PUBLISHED = {
    "RN50": resnet((3, 4, 6, 3), 64, 224, 1024, 512),
    "RN101": resnet((3, 4, 23, 3), 64, 224, 512, 512),
    "RN50x4": resnet((4, 6, 10, 6), 80, 288, 640, 640),
    "RN50x16": resnet((6, 8, 18, 8), 96, 384, 768, 768),
    "RN50x64": resnet((3, 15, 36, 10), 128, 448, 1024, 1024),
    "ViT-B/32": vit(32, 12, 768, 224, 512, 512),
    "ViT-B/16": vit(16, 12, 768, 224, 512, 512),
    "ViT-L/14": vit(14, 24, 1024, 224, 768, 768),
    "ViT-L/14@336px": vit(14, 24, 1024, 336, 768, 768),
}


TEXT = {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2}
SMALL = {
    "ViT": {"image_size": 48, "layers": 3, "width": 128, "patch_size": 16},
    "ResNet": {"image_size": 96, "layers": [1, 2, 3, 1], "width": 16},
}


# --- against the oracle ---


@pytest.mark.parametrize("vision", SMALL.values(), ids=SMALL)
@torch.inference_mode()
def test_features_and_logits_are_open_clips(vision: dict[str, Any]) -> None:
    # given
    config = {"embed_dim": 96, "vision_cfg": vision, "text_cfg": TEXT, "quick_gelu": True}
    oracle = open_clip_model(config, seed=4)
    # when
    model = build_model(oracle.state_dict())
    # then
    answers = our_answers(model)
    assert_agree(answers, open_clip_answers(oracle))
    # and the logits of a forward pass are those of its features
    logits = model(pictures(vision["image_size"]), tokenizer().tokenize(PROMPTS))
    assert torch.allclose(logits, answers.logits, atol=1e-4)


# --- text trimming ---


@torch.inference_mode()
@pytest.mark.parametrize("text", ["cat", "", "a photo of a cat on a mat."])
def test_what_stands_behind_the_end_mark_changes_nothing(text: str) -> None:
    # given the padding filled with tokens below the end mark
    model = build_model(tiny_state())
    padded = tokenizer().tokenize([text])
    end = int(padded.argmax())
    filled = padded.clone()
    filled[0, end + 1 :] = torch.arange(1000, 1000 + 76 - end)
    assert torch.equal(model.encode_text(filled), model.encode_text(padded))


@torch.inference_mode()
def test_a_longer_neighbour_in_the_batch_changes_a_feature_by_rounding_only() -> None:
    model = build_model(tiny_state())
    tokens = tokenizer().tokenize(PROMPTS)
    together = model.encode_text(tokens)
    alone = torch.cat([model.encode_text(row[None]) for row in tokens])
    assert (normalize(together, dim=-1) - normalize(alone, dim=-1)).abs().max() < 1e-6


@torch.inference_mode()
def test_trimming_gives_what_all_77_columns_give() -> None:
    # given the model's own parts, run over the whole context
    model = build_model(tiny_state())
    tokens = tokenizer().tokenize(PROMPTS)
    x = model.transformer(model.token_embedding(tokens) + model.positional_embedding)
    whole = model.ln_final(x[torch.arange(len(tokens)), tokens.argmax(-1)]) @ model.text_projection
    assert (
        normalize(model.encode_text(tokens), dim=-1) - normalize(whole, dim=-1)
    ).abs().max() < 1e-6


@torch.inference_mode()
def test_a_text_that_fills_the_whole_context_is_encoded() -> None:
    model = build_model(tiny_state())
    tokens = tokenizer().tokenize(["cat " * 75])
    assert int(tokens.argmax()) == 76
    assert model.encode_text(tokens).isfinite().all()


# --- reading the hyper-parameters ---


def shapes_only(config: CLIPConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return CLIP(config).state_dict()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_hyper_parameters_of_the_published_models_are_read_off_their_shapes(name: str) -> None:
    assert infer_config(shapes_only(PUBLISHED[name])) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "heads"),
    [("RN50", 32), ("RN50x4", 40), ("RN50x16", 48), ("RN50x64", 64), ("ViT-B/32", 12)],
)
def test_the_published_models_have_heads_64_wide(name: str, heads: int) -> None:
    assert PUBLISHED[name].vision_heads == heads


# --- building ---


def test_a_built_model_is_frozen_in_eval_mode_and_float32() -> None:
    state = {key: _half(value) for key, value in tiny_state(TINY_RESNET).items()}
    model = build_model(state)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert torch.equal(model.visual.conv1.weight, state["visual.conv1.weight"].float())


def _half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def test_parameters_with_gradients_are_taken_too() -> None:
    state = {key: torch.nn.Parameter(value.clone()) for key, value in tiny_state().items()}
    model = build_model(state)
    assert not any(weight.requires_grad for weight in model.parameters())
    assert all(weight.is_leaf for weight in model.parameters())


def test_the_callers_weights_are_neither_changed_nor_shared() -> None:
    # given OpenAI's three extra entries too
    extra = {name: torch.tensor(77) for name in ("input_resolution", "context_length")}
    state = {key: value.clone() for key, value in tiny_state(TINY_RESNET).items()} | extra
    before = {key: value.clone() for key, value in state.items()}
    # when
    model = build_model(state)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    # then
    assert list(state) == list(before)
    assert all(torch.equal(state[key], before[key]) for key in before)


def test_batch_counters_may_be_missing_as_in_old_checkpoints() -> None:
    state = {
        key: value
        for key, value in tiny_state(TINY_RESNET).items()
        if not key.endswith("num_batches_tracked")
    }
    assert build_model(state).config == TINY_RESNET


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "their first keys are none"),
        ({"fc.weight": torch.zeros(2, 2)}, "their first keys are fc.weight"),
        ({"visual.proj": torch.zeros(2, 2)}, "lack 'visual.conv1.weight'"),
        (dict(tiny_state()) | {"positional_embedding": torch.zeros(5)}, "have the shapes"),
        (dict(tiny_state()) | {"text_projection": torch.zeros(5)}, "have the shapes"),
        (dict(tiny_state()) | {"visual.conv1.weight": torch.zeros(8)}, "have the shapes"),
    ],
)
def test_another_network_is_refused_in_one_sentence(state: dict[str, Tensor], words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        build_model(state)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_resnet_too_narrow_for_one_head_is_refused() -> None:
    narrow = dict(tiny_state(TINY_RESNET)) | {"visual.layer1.0.conv1.weight": torch.zeros(1, 1)}
    with pytest.raises(CheckpointError, match="image tower's width 32 is"):
        infer_config(narrow)


@pytest.mark.parametrize("width", [32, 80])
def test_a_width_that_no_head_of_64_fits_is_refused(width: int) -> None:
    # given towers whose heads the shapes don't tell
    odd = dataclasses.replace(TINY_VIT, transformer_width=width, transformer_head_width=16)
    with pytest.raises(CheckpointError, match=f"text tower's width {width} is"):
        build_model(CLIP(odd).state_dict())
