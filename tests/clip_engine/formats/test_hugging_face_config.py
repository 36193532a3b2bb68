"""Configs and indexes of Hugging Face folders: what they change, and what in them is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.checkpoints import edit_json, refusal
from support.hugging_face import small_model
from support.oracles import assert_agree, hugging_face_answers, our_answers

from clip_engine import load_engine
from clip_engine.formats import read_checkpoint
from clip_engine.images.normalisation import OPENAI_NORMALISATION, Normalisation
from clip_engine.images.transform import ImageTransform


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small sound folder, for tests to break."""
    small_model().save_pretrained(tmp_path)
    return tmp_path


def test_the_end_of_a_text_is_found_under_both_conventions(folder: Path) -> None:
    # given configs of before and after transformers' pull request 24773
    answers = []
    for eos in (2, 49407):
        edit_json(folder / "config.json", "text_config", eos_token_id=eos)
        theirs = transformers.CLIPModel.from_pretrained(folder)
        answers.append(hugging_face_answers(theirs))
        # then
        assert_agree(our_answers(read_checkpoint(folder).build()), answers[-1])
    assert torch.equal(answers[0].texts, answers[1].texts)


def test_older_configs_repeat_their_parts_under_other_names(folder: Path) -> None:
    # given a config whose part is overruled by its older twin, as laion's folders have it
    config = folder / "config.json"
    edit_json(config, "vision_config", num_attention_heads=3)
    edit_json(config, "", vision_config_dict={"num_attention_heads": 2}, text_config_dict=None)
    # then
    assert read_checkpoint(folder).traits.vision_head_width == 48


@pytest.mark.parametrize("writer", ["preprocessor_config.json", "processor_config.json"])
def test_the_processors_means_are_taken(folder: Path, writer: str) -> None:
    # given the older file, which the image processor writes, or the newer one around it
    told = transformers.CLIPImageProcessor(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4])
    told.save_pretrained(folder)
    if writer == "processor_config.json":
        older = folder / "preprocessor_config.json"
        (folder / writer).write_text(json.dumps({"image_processor": json.loads(older.read_text())}))
        older.unlink()
    # then
    checkpoint = read_checkpoint(folder)
    assert checkpoint.preprocessing.normalisation() == Normalisation(
        (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    )
    assert folder / writer in checkpoint.files


def test_without_a_processor_openais_means_are_taken(folder: Path) -> None:
    assert read_checkpoint(folder).preprocessing.normalisation() == OPENAI_NORMALISATION


def test_the_processors_resizing_is_taken(folder: Path) -> None:
    transformers.CLIPImageProcessor(
        resample=2, size={"height": 32, "width": 32}, do_center_crop=False
    ).save_pretrained(folder)
    assert load_engine(str(folder)).preprocessor.transform == ImageTransform(
        32, "squash", "bilinear"
    )


# --- what is refused ---


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("resample", 5),
        ("do_normalize", False),
        ("do_resize", False),
        ("size", {"height": 224, "width": 192}),
        ("crop_size", 200),
    ],
)
def test_a_processor_that_does_something_else_is_refused(
    folder: Path, option: str, value: object
) -> None:
    transformers.CLIPImageProcessor().save_pretrained(folder)
    edit_json(folder / "preprocessor_config.json", "", **{option: value})
    assert option in refusal(folder)


@pytest.mark.parametrize(
    ("section", "entry", "value"),
    [
        ("text_config", "hidden_act", "gelu_new"),
        ("text_config", "layer_norm_eps", 1e-6),
        ("text_config", "eos_token_id", 5),
        ("vision_config", "num_attention_heads", 5),
        ("vision_config", "num_channels", 4),
        ("vision_config", "hidden_act", "gelu"),
    ],
)
def test_a_model_that_is_not_built_here_is_named(
    folder: Path, section: str, entry: str, value: object
) -> None:
    edit_json(folder / "config.json", section, **{entry: value})
    message = refusal(folder)
    assert repr(str(folder / "config.json")) in message
    assert entry in message


def test_missing_and_unexpected_names_are_listed_as_the_file_has_them(folder: Path) -> None:
    # given
    path = folder / "model.safetensors"
    state = load_file(path)
    del state["vision_model.pre_layrnorm.bias"]
    del state["text_model.encoder.layers.2.self_attn.k_proj.weight"]
    save_file(state | {"classifier.weight": torch.zeros(2)}, path)
    # then
    message = refusal(folder)
    assert (
        "2 missing (text_model.encoder.layers.2.self_attn.k_proj.weight, "
        "vision_model.pre_layrnorm.bias); 1 unexpected (classifier.weight)"
    ) in message


def test_a_config_of_another_depth_is_told_by_the_names(folder: Path) -> None:
    edit_json(folder / "config.json", "text_config", num_hidden_layers=4)
    message = refusal(folder)
    assert "16 missing (text_model.encoder.layers.3.layer_norm1.bias" in message
    assert "and 11 more" in message


def test_a_config_of_another_resolution_is_told_with_both_sizes(folder: Path) -> None:
    edit_json(folder / "config.json", "vision_config", image_size=64)
    assert "image_resolution is 64 in the config and 32 in the weights" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("text_projection.weight", (2, 2, 2)),
        ("vision_model.encoder.layers.0.self_attn.q_proj.weight", (96, 95)),
        ("vision_model.post_layernorm.bias", (95,)),
    ],
)
def test_wrong_shapes_are_refused(folder: Path, name: str, shape: tuple[int, ...]) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | {name: torch.zeros(shape)}, path)
    assert repr(str(folder)) in refusal(folder)


def test_weights_without_their_config_are_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "put the model's config.json beside it" in refusal(folder / "model.safetensors")


def test_a_resnets_folder_is_refused(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    assert "is an image model (resnet) without a text tower" in refusal(tmp_path)


# --- shards ---


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    small_model().save_pretrained(tmp_path, max_shard_size="5MB")
    return tmp_path


def test_a_missing_shard_is_named(shards: Path) -> None:
    lost = sorted(shards.glob("model-*.safetensors"))[1]
    lost.unlink()
    message = refusal(shards)
    assert lost.name in message
    assert "1 missing" in message


def test_a_cut_off_shard_is_named(shards: Path) -> None:
    cut = sorted(shards.glob("model-*.safetensors"))[1]
    cut.write_bytes(cut.read_bytes()[:-100])
    assert repr(str(cut)) in refusal(shards)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "sub/model.safetensors"])
def test_an_index_may_name_files_of_its_own_folder_only(shards: Path, name: str) -> None:
    edit_json(shards / "model.safetensors.index.json", "weight_map", logit_scale=name)
    assert "must name files in its own folder" in refusal(shards)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "x"])
def test_an_index_that_is_none_is_refused(shards: Path, text: str) -> None:
    (shards / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json" in refusal(shards)
