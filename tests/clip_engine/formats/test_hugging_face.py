"""Hugging Face folders, written by transformers, against transformers' own model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from support.hugging_face import clip_model, small_model, tower
from support.oracles import assert_agree, hugging_face_answers, our_answers

from clip_engine import load_engine
from clip_engine.formats import read_checkpoint


@pytest.mark.slow
def test_a_full_size_sharded_folder_answers_as_transformers(tmp_path: Path) -> None:
    # given clip-vit-base-patch32 in three files or more
    model = clip_model(tower(768, 12, 12, image_size=224, patch_size=32), tower(512, 8, 12), 512)
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
    model = clip_model(vision, tower(192, 3, 12), 64)
    # when
    model.save_pretrained(tmp_path)
    # then
    assert_agree(our_answers(read_checkpoint(tmp_path).build()), hugging_face_answers(model))


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_the_config_tells_activation_and_heads(tmp_path: Path, act: str) -> None:
    # given
    model = small_model(act)
    model.save_pretrained(tmp_path)
    # when
    ours = read_checkpoint(tmp_path).build()
    # then
    assert ours.config.activation == act
    assert (ours.config.vision_head_width, ours.config.transformer_head_width) == (48, 32)
    assert_agree(our_answers(ours), hugging_face_answers(model))


def test_the_file_in_the_folder_the_index_and_pickled_weights_do_as_well(tmp_path: Path) -> None:
    # given one model as one file, in shards, and as older versions of transformers wrote it
    model = small_model()
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
    model = small_model().half()
    model.save_pretrained(tmp_path)
    assert_agree(
        our_answers(read_checkpoint(tmp_path).build()), hugging_face_answers(model.float())
    )


def test_an_engine_takes_a_folder(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path)
    engine = load_engine(str(tmp_path))
    assert engine.identity.name == tmp_path.name
    assert engine.identity.digest == read_checkpoint(tmp_path).digest()
    assert engine.encode_pixels([torch.zeros(3, 32, 32, dtype=torch.uint8)]).shape == (1, 32)
