"""Hugging Face folders, written by transformers, against transformers' own model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.oracles import assert_agree, fill, hugging_face_answers, our_answers
from support.refusals import refusal

from clip_engine import load_engine
from clip_engine.formats import read_checkpoint
from clip_engine.normalisation import OPENAI_NORMALISATION, Normalisation

# --- the oracle ---


def oracle(vision: dict[str, Any], text: dict[str, Any], dim: int, act: str = "quick_gelu") -> Any:
    """A CLIPModel, its weights random; MLPs are four times as wide as the tower."""
    towers = [
        tower | {"intermediate_size": 4 * tower["hidden_size"], "hidden_act": act}
        for tower in (vision, text)
    ]
    config = transformers.CLIPConfig(
        vision_config=towers[0], text_config=towers[1], projection_dim=dim
    )
    return fill(transformers.CLIPModel(config), seed=8)


def tower(width: int, heads: int, layers: int, **numbers: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        **numbers,
    }


def small(act: str = "quick_gelu") -> Any:
    """With heads of 48 and of 32."""
    return oracle(tower(96, 2, 2, image_size=32, patch_size=8), tower(64, 2, 3), 32, act)


def base_patch32() -> Any:
    return oracle(tower(768, 12, 12, image_size=224, patch_size=32), tower(512, 8, 12), 512)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small sound folder, for tests to break."""
    small().save_pretrained(tmp_path)
    return tmp_path


# --- what transformers writes ---


@pytest.mark.slow
def test_a_full_size_sharded_folder_answers_as_transformers(tmp_path: Path) -> None:
    # given clip-vit-base-patch32 in three files or more
    model = base_patch32()
    model.save_pretrained(tmp_path, max_shard_size="250MB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) >= 3
    # when
    checkpoint = read_checkpoint(tmp_path)
    ours = checkpoint.build()
    # then
    assert checkpoint.format == "Hugging Face CLIPModel, safetensors"
    assert sum(weight.numel() for weight in ours.parameters()) == 151_277_313
    assert_agree(our_answers(ours), hugging_face_answers(model))


def test_large_patch14_of_336_pixels_answers_as_transformers(tmp_path: Path) -> None:
    # given its true depth, patches and resolution, with fewer heads
    vision = tower(128, 2, 24, image_size=336, patch_size=14)
    model = oracle(vision, tower(192, 3, 12), 64)
    # when
    model.save_pretrained(tmp_path)
    # then
    assert_agree(our_answers(read_checkpoint(tmp_path).build()), hugging_face_answers(model))


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_the_config_tells_activation_and_heads(tmp_path: Path, act: str) -> None:
    # given
    model = small(act)
    model.save_pretrained(tmp_path)
    # when
    ours = read_checkpoint(tmp_path).build()
    # then
    assert ours.config.activation == act
    assert (ours.config.vision_head_width, ours.config.transformer_head_width) == (48, 32)
    assert_agree(our_answers(ours), hugging_face_answers(model))


def test_the_file_in_the_folder_the_index_and_pickled_weights_do_as_well(tmp_path: Path) -> None:
    # given one model as one file, in shards, and as older versions of transformers wrote it
    model = small()
    whole, shards, pickled = (tmp_path / name for name in ("whole", "shards", "pickled"))
    model.save_pretrained(whole)
    model.save_pretrained(shards, max_shard_size="5MB")
    pickled.mkdir()
    positions = {
        f"{tower}_model.embeddings.position_ids": torch.arange(17)[None]
        for tower in ("text", "vision")
    }
    torch.save(model.state_dict() | positions, pickled / "pytorch_model.bin")
    shutil.copy(whole / "config.json", pickled)
    # then
    told = hugging_face_answers(model)
    for path in (
        whole / "model.safetensors",
        shards,
        shards / "model.safetensors.index.json",
        pickled,
        pickled / "pytorch_model.bin",
    ):
        assert_agree(our_answers(read_checkpoint(path).build()), told)


def test_half_precision_folders_are_read(tmp_path: Path) -> None:
    model = small().half()
    model.save_pretrained(tmp_path)
    assert_agree(
        our_answers(read_checkpoint(tmp_path).build()), hugging_face_answers(model.float())
    )


def test_an_engine_takes_a_folder(folder: Path) -> None:
    engine = load_engine(str(folder))
    assert engine.identity.name == folder.name
    assert engine.identity.digest == read_checkpoint(folder).digest()
    assert engine.encode_pixels([torch.zeros(3, 32, 32, dtype=torch.uint8)]).shape == (1, 32)


def test_the_end_of_a_text_is_found_under_both_conventions(folder: Path) -> None:
    # given configs of before and after transformers' pull request 24773
    answers = []
    for eos in (2, 49407):
        edit(folder / "config.json", "text_config", eos_token_id=eos)
        theirs = transformers.CLIPModel.from_pretrained(folder)
        answers.append(hugging_face_answers(theirs))
        # then
        assert_agree(our_answers(read_checkpoint(folder).build()), answers[-1])
    assert torch.equal(answers[0].texts, answers[1].texts)


def test_older_configs_repeat_their_parts_under_other_names(folder: Path) -> None:
    # given a config whose part is overruled by its older twin, as laion's folders have it
    config = folder / "config.json"
    edit(config, "vision_config", num_attention_heads=3)
    edit(config, "", vision_config_dict={"num_attention_heads": 2}, text_config_dict=None)
    # then
    assert read_checkpoint(folder).traits.vision_head_width == 48


# --- preprocessing ---


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
    assert checkpoint.normalisation == Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert folder / writer in checkpoint.files


def test_without_a_processor_openais_means_are_taken(folder: Path) -> None:
    assert read_checkpoint(folder).normalisation == OPENAI_NORMALISATION


@pytest.mark.parametrize(
    ("option", "value"),
    [("resample", 2), ("do_normalize", False), ("size", {"height": 224, "width": 224})],
)
def test_a_processor_that_does_something_else_is_refused(
    folder: Path, option: str, value: object
) -> None:
    transformers.CLIPImageProcessor().save_pretrained(folder)
    edit(folder / "preprocessor_config.json", "", **{option: value})
    assert option in refusal(folder)


# --- what is refused ---


def edit(path: Path, section: str, **entries: Any) -> None:
    config = json.loads(path.read_text())
    (config[section] if section else config).update(entries)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("section", "entry", "value"),
    [
        ("", "model_type", "siglip"),
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
    edit(folder / "config.json", section, **{entry: value})
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
    edit(folder / "config.json", "text_config", num_hidden_layers=4)
    message = refusal(folder)
    assert "16 missing (text_model.encoder.layers.3.layer_norm1.bias" in message
    assert "and 11 more" in message


def test_a_config_of_another_resolution_is_told_with_both_sizes(folder: Path) -> None:
    edit(folder / "config.json", "vision_config", image_size=64)
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
    assert "which every CLIP model has" in refusal(tmp_path)


# --- shards ---


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    small().save_pretrained(tmp_path, max_shard_size="5MB")
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
    edit(shards / "model.safetensors.index.json", "weight_map", logit_scale=name)
    assert "must name files in its own folder" in refusal(shards)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "x"])
def test_an_index_that_is_none_is_refused(shards: Path, text: str) -> None:
    (shards / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json" in refusal(shards)
