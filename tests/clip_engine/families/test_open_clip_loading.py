"""What models of open_clip's families are read from, and what is refused in words."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.open_clip_configs import FAMILIES, VIT
from support.open_clip_families import SavedModel, save_family

from clip_engine.errors import CheckpointError
from clip_engine.families.library_encoder import LibraryDualEncoder
from clip_engine.families.open_clip import load_open_clip
from clip_engine.images.transform import ImageTransform

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CPU = torch.device("cpu")
CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
HUB_FAMILIES = [name for name, family in FAMILIES.items() if family.tokenizer is not None]


@pytest.fixture
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> SavedModel:
    """A model of the family that the test names, or SigLIP."""
    return save_family(getattr(request, "param", "siglip"), tmp_path / "model")


def features(encoder: LibraryDualEncoder) -> torch.Tensor:
    """Of a text and of an image."""
    side = encoder.transform.resolution
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        texts = encoder.encode_text(encoder.tokenize(["a photo of a cat"]))
        return torch.cat([texts, encoder.encode_image(pixels)])


def rewrite(saved: SavedModel, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the config file of a saved model."""
    file = saved.path / CONFIG
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))
    return saved.path


# --- what is read ---


@pytest.mark.parametrize("name", HUB_FAMILIES)
def test_tokenizers_and_text_towers_are_found_in_other_repositories(
    name: str, tmp_path: Path
) -> None:
    apart = tmp_path / "snapshot"
    saved = save_family(name, tmp_path / "model", apart=apart)
    assert sorted(file.name for file in saved.path.iterdir()) == [CONFIG, WEIGHTS]
    encoder = load_open_clip(saved.path, companions=saved.companions, device=CPU)
    tokens = encoder.tokenize(["a photo of a cat"])
    assert torch.equal(tokens, saved.tokenizer(["a photo of a cat"]))
    assert {file.parent for file in encoder.files} == {saved.path, apart}


@pytest.mark.parametrize("saved", ["siglip", "nllb", "coca"], indirect=True)
def test_weights_are_read_from_files_of_torch_and_in_half_precision(saved: SavedModel) -> None:
    expected = features(load_open_clip(saved.path, device=CPU))
    state = load_file(saved.path / WEIGHTS)
    (saved.path / WEIGHTS).unlink()
    torch.save(
        {"epoch": 1, "name": "run", "state_dict": {f"module.{k}": v for k, v in state.items()}},
        saved.path / "open_clip_pytorch_model.bin",
    )
    assert torch.equal(features(load_open_clip(saved.path, device=CPU)), expected)

    halved = {key: value.half() for key, value in state.items()}
    save_file(halved, saved.path / WEIGHTS)
    close = features(load_open_clip(saved.path, device=CPU))
    assert close.dtype == torch.float32
    assert torch.cosine_similarity(close, expected).min() > 0.999


def test_a_registered_architecture_needs_no_config_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save_family("eva02", tmp_path / "model")
    expected = load_open_clip(saved.path, device=CPU)
    registry = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(registry, "Tiny-EVA", saved.family.config)
    file = tmp_path / "bare.pt"
    torch.save(load_file(saved.path / WEIGHTS), file)
    overrides = {"mean": [0.1] * 3, "std": [0.2] * 3, "resize_mode": "squash", "url": "x"}
    bare = load_open_clip(file, architecture="Tiny-EVA", overrides=overrides, device=CPU)
    assert torch.equal(features(bare), features(expected))
    assert bare.transform == ImageTransform(64, "squash")
    assert bare.normalisation.mean == (0.1,) * 3
    assert bare.files == (file,)
    assert "architecture=Tiny-EVA" in bare.settings
    assert registry["Tiny-EVA"] == saved.family.config  # not changed


def test_quick_gelu_of_a_tag_counts_more_than_the_config(tmp_path: Path) -> None:
    saved = save_family("metaclip", tmp_path)
    quick = features(load_open_clip(saved.path, device=CPU))
    rewrite(saved, lambda config: config["model_cfg"].update(quick_gelu=False))
    plain = load_open_clip(saved.path, device=CPU)
    assert not torch.allclose(features(plain), quick, atol=1e-3)
    overridden = load_open_clip(saved.path, overrides={"quick_gelu": True}, device=CPU)
    assert torch.equal(features(overridden), quick)
    assert overridden.settings == ("quick_gelu=True",)


def test_a_config_with_a_bias_and_weights_without_it_were_trained_with_softmax(
    saved: SavedModel,
) -> None:
    state = load_file(saved.path / WEIGHTS)
    del state["logit_bias"]
    save_file(state, saved.path / WEIGHTS)
    encoder = load_open_clip(saved.path, device=CPU)
    assert (encoder.trained_with, encoder.logit_bias) == ("softmax", 0.0)


def test_older_layouts_of_the_text_tower_are_converted(tmp_path: Path) -> None:
    saved = save_family("pe-core", tmp_path)
    expected = features(load_open_clip(saved.path, device=CPU))
    state = load_file(saved.path / WEIGHTS)
    older = {name.removeprefix("text."): value for name, value in state.items()}
    older["logit_scale"] = older["logit_scale"].reshape(1)
    save_file(older, saved.path / WEIGHTS)
    assert torch.equal(features(load_open_clip(saved.path, device=CPU)), expected)


def test_positions_that_older_transformers_stored_are_ignored(tmp_path: Path) -> None:
    saved = save_family("xlm-roberta", tmp_path)
    state = load_file(saved.path / WEIGHTS)
    state["text.transformer.embeddings.position_ids"] = torch.arange(96)[None]
    save_file(state, saved.path / WEIGHTS)
    load_open_clip(saved.path, device=CPU)


# --- what is refused ---


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_open_clip(path, device=CPU, **options)
    return str(caught.value)


def test_without_open_clip_the_sentence_says_what_to_install(
    saved: SavedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert 'pip install "clip-worker[models]"' in refusal(saved.path)


def test_weights_of_another_model_are_refused_by_name(saved: SavedModel) -> None:
    state = load_file(saved.path / WEIGHTS)
    state["visual.extra"] = torch.zeros(1)
    state["text.ln_final.bias"] = torch.zeros(8)
    del state["text.ln_final.weight"]
    save_file(state, saved.path / WEIGHTS)
    said = refusal(saved.path)
    assert "1 missing (text.ln_final.weight)" in said
    assert "1 unexpected (visual.extra)" in said
    assert "text.ln_final.bias: (8,) for (64,)" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("model_cfg"), "model_cfg"),
        (lambda c: c["model_cfg"].pop("vision_cfg"), "vision_cfg is missing"),
        (lambda c: c["model_cfg"].update(embed_dim=None), "embed_dim is missing"),
        (lambda c: c["model_cfg"]["text_cfg"].update(novelty=1), "novelty"),
        (lambda c: c["model_cfg"]["vision_cfg"].update(timm_model_name="no_such"), "no_such"),
        (
            lambda c: c["model_cfg"]["vision_cfg"].update(timm_model_name="hf-hub:a/b"),
            "'hf-hub:a/b', which timm would download",
        ),
        (
            lambda c: c["model_cfg"].update(vision_cfg=VIT | {"image_size": [48, 64]}),
            "only square",
        ),
        (lambda c: c["preprocess_cfg"].update(interpolation="nearest"), "interpolation"),
        (
            lambda c: c["model_cfg"]["text_cfg"].update(
                tokenizer_kwargs={"trust_remote_code": True}
            ),
            "trust_remote_code, which is not supported",
        ),
    ],
)
def test_configs_that_are_not_supported_are_refused(
    saved: SavedModel, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    if said == "only square":
        _save_rectangular(saved)
    assert said in refusal(rewrite(saved, change))


def _save_rectangular(saved: SavedModel) -> None:
    config = saved.family.config | {"vision_cfg": VIT | {"image_size": [48, 64]}}
    config.pop("custom_text")
    state = open_clip.CustomTextCLIP(**config).state_dict()
    save_file(state, saved.path / WEIGHTS)


def test_an_unknown_architecture_is_refused(saved: SavedModel) -> None:
    assert "has no architecture 'ViT-Z'" in refusal(saved.path, architecture="ViT-Z")


def test_a_missing_tokenizer_is_named_with_where_it_was_looked_for(saved: SavedModel) -> None:
    (saved.path / "tokenizer.json").unlink()
    said = refusal(saved.path)
    assert "'timm/ViT-B-16-SigLIP' has no files in" in said
    assert "hf download timm/ViT-B-16-SigLIP" in said


def test_a_damaged_tokenizer_is_refused(saved: SavedModel) -> None:
    (saved.path / "tokenizer.json").write_text("{")
    assert "can't be read" in refusal(saved.path)


def test_a_missing_config_of_a_text_tower_is_named(tmp_path: Path) -> None:
    saved = save_family("xlm-roberta", tmp_path)
    (saved.path / "config.json").unlink()
    assert "'xlm-roberta-base' needs its config.json" in refusal(saved.path)


def test_a_text_tower_of_a_type_that_open_clip_has_not_is_not_built(tmp_path: Path) -> None:
    saved = save_family("xlm-roberta", tmp_path)
    (saved.path / "config.json").write_text(
        json.dumps({"model_type": "custom", "auto_map": {"AutoConfig": "code.Config"}})
    )
    (saved.path / "code.py").write_text("raise SystemExit('the code of the folder was run')")
    assert "needs its config.json" in refusal(saved.path)


def test_a_model_that_overflows_in_float16_is_refused(tmp_path: Path) -> None:
    saved = save_family("metaclip", tmp_path)
    state = load_file(saved.path / WEIGHTS)
    state["visual.transformer.resblocks.0.mlp.c_proj.weight"] *= 1e6
    save_file(state, saved.path / WEIGHTS)
    assert "run it in bfloat16 or float32" in refusal(saved.path, precision="float16")
    assert features(load_open_clip(saved.path, device=CPU, precision="bfloat16")).isfinite().all()


def test_nothing_is_downloaded(saved: SavedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    load_open_clip(saved.path, device=CPU)
    shutil.rmtree(saved.path)
