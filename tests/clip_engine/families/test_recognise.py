"""Which family a model is of, what loads it, and the refusal of all others."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
import pytest
import torch
from support.checkpoints import refusal
from support.tiny_clip import openai_state

from clip_engine.errors import CheckpointError
from clip_engine.families import recognise as module
from clip_engine.families.recognise import CLIP, Family, recognise, tag_config
from clip_engine.formats import read_checkpoint
from clip_engine.formats.open_clip_config import OpenCLIPConfig
from clip_engine.model import clip, infer_config
from clip_engine.weights.located import LocatedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

# How many of open_clip 3.3's architectures are recognised as each family's.
COUNTS = {
    "CLIP": 41,
    "SigLIP": 11,
    "SigLIP 2": 15,
    "ViTamin": 15,
    "ConvNeXt CLIP": 11,
    "MobileCLIP": 8,
    "EVA-CLIP": 7,
    "MetaCLIP 2": 7,
    "CLIPA": 6,
    "PE-Core": 5,
    "CoCa": 4,
    "NLLB-CLIP": 4,
    "XLM-RoBERTa CLIP": 2,
    "mT5 CLIP": 2,
    "RoBERTa CLIP": 1,
    "Swin CLIP": 1,
    "vit_large_patch14_clip_224 CLIP": 1,  # MobileCLIP2-L-14
    "vit_medium_patch16_gap_256 CLIP": 1,
    "vit_relpos_medium_patch16_cls_224 CLIP": 1,
    "CLIP variant": 1,  # ViT-M-16-alt
}


def tag(architecture: str, **overrides: object) -> LocatedModel:
    return LocatedModel(f"{architecture}/tag", Path("weights.pt"), architecture, overrides)


def folder(path: Path, content: Mapping[str, Any] | str, name: str = "config.json") -> LocatedModel:
    """A folder with a config and weights that nobody reads."""
    text = content if isinstance(content, str) else json.dumps(content)
    (path / name).write_text(text)
    weights = {"config.json": "model.safetensors"}.get(name, "open_clip_model.safetensors")
    (path / weights).write_bytes(b"")
    return LocatedModel(path.name, path)


# --- what is loaded, and by what ---


def test_every_architecture_of_open_clip_has_a_family_and_a_library() -> None:
    # when
    families = {name: recognise(tag(name)) for name in open_clip.list_models()}
    # then
    assert Counter(family.name for family in families.values()) == COUNTS
    for name, family in families.items():
        assert family.library == ("clip_engine" if family == CLIP else "open_clip"), name


@pytest.mark.slow
def test_our_own_clip_has_the_shapes_of_each_architecture_that_it_is_given() -> None:
    for name in open_clip.list_models():
        located = tag(name)
        if recognise(located) != CLIP:
            continue
        # given open_clip's model without its weights' values
        declared = OpenCLIPConfig.model_validate(tag_config(located))
        with torch.device("meta"):
            theirs = open_clip.CLIP(**open_clip.get_model_config(name)).state_dict()
            # when
            config = infer_config(theirs, declared.traits())
            ours = clip.CLIP(config).state_dict()
        # then
        assert {key: value.shape for key, value in ours.items()} == {
            key: value.shape for key, value in theirs.items()
        }, name
        assert all(getattr(config, key) == value for key, value in declared.sizes().items()), name


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"model_type": "siglip", "text_config": {"vocab_size": 32000}}, "SigLIP"),
        ({"model_type": "siglip", "text_config": {"vocab_size": 256000}}, "SigLIP 2"),
        ({"model_type": "siglip"}, "SigLIP"),
        ({"model_type": "metaclip_2"}, "MetaCLIP 2"),
    ],
)
def test_a_folder_of_transformers_is_loaded_by_it(
    tmp_path: Path, config: dict[str, Any], name: str
) -> None:
    assert recognise(folder(tmp_path, config)) == Family(name, "transformers")


def test_a_clip_that_transformers_saved_is_loaded_by_us(tmp_path: Path) -> None:
    assert recognise(folder(tmp_path, {"model_type": "clip"})) == CLIP


def test_open_clips_config_goes_before_that_of_a_tower(tmp_path: Path) -> None:
    config = {"model_cfg": open_clip.get_model_config("ViT-B-16-SigLIP2")}
    folder(tmp_path, {"architecture": "vit_base_patch16_siglip_224"})
    located = folder(tmp_path, config, "open_clip_config.json")
    assert recognise(located) == Family("SigLIP 2", "open_clip")
    # and the file in the folder is what the folder is
    file = LocatedModel("file", tmp_path / "open_clip_model.safetensors")
    assert recognise(file) == Family("SigLIP 2", "open_clip")


def test_other_weights_beside_a_config_of_open_clip_are_that_model_unless_they_are_openais(
    tmp_path: Path,
) -> None:
    config = {"model_cfg": open_clip.get_model_config("ViT-B-16-SigLIP2")}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.save(openai_state(), tmp_path / "openai.pt")
    torch.save({"logit_bias": torch.zeros(1)}, tmp_path / "epoch_3.pt")
    found = [recognise(LocatedModel(name, tmp_path / name)) for name in ("openai.pt", "epoch_3.pt")]
    assert found == [CLIP, Family("SigLIP 2", "open_clip")]


# --- what is refused, in words ---


@pytest.mark.parametrize(
    ("located", "name", "library"),
    [
        (tag("ViT-B-16-SigLIP"), "SigLIP", "open_clip"),
        (tag("coca_ViT-B-32"), "CoCa", "open_clip"),
        ({"model_type": "metaclip_2"}, "MetaCLIP 2", "transformers"),
    ],
)
def test_without_the_library_the_extra_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    located: LocatedModel | dict[str, Any],
    name: str,
    library: str,
) -> None:
    # given
    located = located if isinstance(located, LocatedModel) else folder(tmp_path, located)
    monkeypatch.setattr(module, "find_spec", lambda wanted: None if wanted == library else wanted)
    # then
    with pytest.raises(CheckpointError) as caught:
        recognise(located)
    assert str(caught.value) == (
        f"{located.name!r} is a {name} model; install clip-worker[models]."
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "siglip2"}, "is a NaFlex model of SigLIP 2"),
        ({"model_type": "blip", "text_config": {}, "vision_config": {}}, "is a BLIP model"),
        ({"model_type": "chinese_clip"}, "is a Chinese-CLIP model"),
        ({"model_type": "clip_vision_model"}, "is CLIP's image tower alone"),
        ({"model_type": "bert", "vocab_size": 9}, "is a text model (bert) without an image tower"),
        ({"model_type": "dinov2", "image_size": 9}, "is an image model (dinov2) without a text"),
        (
            {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]},
            "is a model that writes texts (llava)",
        ),
        ({"model_type": "whisper"}, "is a whisper model of transformers, which is not supported"),
        ({"_class_name": "UNet2DConditionModel"}, "is a part of a diffusion pipeline (UNet2DC"),
        ({"architecture": "vit_base", "num_classes": 0}, "is timm's image model 'vit_base'"),
        ({"hidden_size": 9}, "without a model_type"),
        ("[]", "holds no JSON object"),
        ("{", "can't be read"),
    ],
)
def test_a_folder_that_nobody_loads_is_told_what_it_is(
    tmp_path: Path, config: dict[str, Any] | str, words: str
) -> None:
    folder(tmp_path, config)
    message = refusal(tmp_path)
    assert words in message
    assert "give" in message or "can't be read" in message


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["model_index.json", "unet"], "has a diffusion pipeline; give a CLIP model"),
        (["adapter_config.json", "adapter_model.safetensors"], "has a LoRA adapter; merge it"),
        (["modules.json", "0_CLIPModel"], "has a model of sentence-transformers; give the folder"),
        (["config.json", "model.gguf"], "has a GGUF file of llama.cpp; give the model as"),
        (["config.json", "model.onnx"], "has an ONNX file; give the model as"),
    ],
)
def test_a_folder_without_weights_for_us_is_told_what_it_is(
    tmp_path: Path, names: list[str], words: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert words in refusal(tmp_path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["logit_bias", "visual.trunk.pos_embed"], "is a SigLIP model in open_clip's layout; put"),
        (["visual.trunk.pos_embed"], "is a model of another family of open_clip; put the model's"),
        (["image_encoder.model.x"], "is a MobileCLIP in Apple's layout"),
        (["model.diffusion_model.x"], "is a diffusion model; give a CLIP model"),
        (["visual_encoder.x", "text_decoder.x"], "is a BLIP model"),
        (["base_model.model.x.lora_A"], "is a LoRA adapter; merge it"),
        (["bert.embeddings.x"], "is a text model; give a model that has both"),
        (["patch_embed.proj.weight"], "is an image model; give a model that has both"),
        (["fc.weight"], "lack 'visual.layer1.0.conv1.weight', which every CLIP model has"),
    ],
)
def test_bare_weights_of_something_else_are_told_what_they_are(
    tmp_path: Path, names: list[str], words: str
) -> None:
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "weights.pt")
    assert words in refusal(tmp_path / "weights.pt", read_checkpoint)


@pytest.mark.parametrize("suffix", [".gguf", ".onnx", ".npz", ".h5", ".msgpack"])
def test_a_file_of_another_kind_is_told_what_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"GGUF")
    assert "give the model as open_clip or transformers saved it" in refusal(path)
