"""OpenCLIP's checkpoints, as OpenCLIP and torch write them, against the model that wrote them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support.checkpoints import TIMM_WARNINGS, refusal
from support.open_clip_folders import SMALL, save_folder, small_oracle
from support.oracles import assert_agree, open_clip_answers, open_clip_model, our_answers

from clip_engine import load_engine
from clip_engine.errors import InputError
from clip_engine.formats import read_checkpoint
from clip_engine.images.normalisation import Normalisation
from clip_engine.model import CLIP, Activation, Traits, build_model, infer_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(*TIMM_WARNINGS)

# Name, head width, and the parameters that open_clip's docs/model_profile.csv has, in millions.
PUBLISHED = {
    "ViT-B-32": (64, 151.28),
    "ViT-B-16": (64, 149.62),
    "ViT-L-14": (64, 427.62),
    "ViT-H-14": (80, 986.11),
    "ViT-g-14": (88, 1366.68),
}


def narrowed(name: str) -> dict[str, Any]:
    """The model of this name, its patches, head and MLP ratio kept, with two heads and layers."""
    config = open_clip.get_model_config(name)
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    config["vision_cfg"]["width"] = 2 * config["vision_cfg"].get("head_width", 64)
    config["vision_cfg"]["image_size"] = 4 * config["vision_cfg"]["patch_size"]
    config["text_cfg"] |= {"width": 128, "heads": 2}
    return config | {"embed_dim": 64}


# --- folders with a config ---


@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-L-14", "ViT-H-14", "ViT-g-14"])
def test_a_folder_answers_as_the_model_that_was_saved(name: str, tmp_path: Path) -> None:
    # given
    config = narrowed(name)
    oracle = open_clip_model(config, seed=6)
    save_folder(oracle, config, tmp_path)
    # when
    checkpoint = read_checkpoint(tmp_path)
    model = checkpoint.build()
    # then
    assert checkpoint.format == "OpenCLIP, safetensors with open_clip_config.json"
    assert model.config.vision_head_width == config["vision_cfg"].get("head_width", 64)
    assert sum(w.numel() for w in model.parameters()) == sum(w.numel() for w in oracle.parameters())
    assert_agree(our_answers(model), open_clip_answers(oracle))


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_a_folder_with_a_pickled_file_answers_the_same(tmp_path: Path, *, quick_gelu: bool) -> None:
    # given
    oracle = small_oracle(quick_gelu=quick_gelu)
    config = SMALL | {"quick_gelu": quick_gelu}
    save_folder(oracle, config, tmp_path, safe=False)
    # when the folder or the file in it is asked for
    for path in (tmp_path, tmp_path / "open_clip_pytorch_model.bin"):
        checkpoint = read_checkpoint(path)
        # then
        assert checkpoint.format == "OpenCLIP, state dict with open_clip_config.json"
        assert_agree(our_answers(checkpoint.build()), open_clip_answers(oracle))


def test_other_sets_of_weights_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    # given a folder that also has timm's config and weights of the image tower
    oracle = small_oracle()
    save_folder(oracle, SMALL, tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "vit_huge_patch14_clip_224"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    # then
    assert_agree(our_answers(read_checkpoint(tmp_path).build()), open_clip_answers(oracle))


def test_a_wrong_activation_or_head_width_would_show(tmp_path: Path) -> None:
    oracle = small_oracle()
    ours = {
        traits: our_answers(build_model(oracle.state_dict(), traits))
        for traits in (
            Traits(activation="gelu", vision_head_width=80, transformer_head_width=32),
            Traits(activation="quick_gelu", vision_head_width=80, transformer_head_width=32),
            Traits(activation="gelu", vision_head_width=40, transformer_head_width=32),
            Traits(activation="gelu", vision_head_width=80, transformer_head_width=48),
        )
    }
    right, *wrong = ours.values()
    assert_agree(right, open_clip_answers(oracle))
    for answers in wrong:
        assert (answers.logits - right.logits).abs().max() > 0.1


def test_the_pixels_are_normalised_as_the_config_says(tmp_path: Path) -> None:
    # given a model that was trained with other means, as OpenCLIP's ViT-L-14 on LAION-2B
    oracle = small_oracle()
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.25, 0.125)
    save_folder(oracle, SMALL, tmp_path, mean, std)
    # when a grey image is encoded
    engine = load_engine(str(tmp_path))
    grey = engine.encode_pixels([engine.prepare(Image.new("RGB", (56, 56), (255, 128, 0)))])
    # then by hand: (value / 255 - 0.5) / std
    assert read_checkpoint(tmp_path).preprocessing.normalisation() == Normalisation(mean, std)
    pixels = torch.tensor([1.0, (128 / 255 - 0.5) / 0.25, -4.0]).view(1, 3, 1, 1)
    with torch.inference_mode():
        chosen = torch.nn.functional.normalize(oracle.encode_image(pixels.expand(1, 3, 56, 56)))
    assert (grey - chosen).abs().max() < 1e-5


# --- without a config ---


def training_checkpoint(oracle: Any, prefix: str = "") -> dict[str, Any]:
    """As OpenCLIP's trainer saves it."""
    return {
        "epoch": 3,
        "name": "run",
        "state_dict": {prefix + name: value for name, value in oracle.state_dict().items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]},
    }


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "state dict": lambda oracle, path: torch.save(oracle.state_dict(), path),
    "safetensors": lambda oracle, path: save_file(oracle.state_dict(), path),
    "training checkpoint": lambda oracle, path: torch.save(training_checkpoint(oracle), path),
    "data-parallel": lambda oracle, path: torch.save(training_checkpoint(oracle, "module."), path),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_bare_weights_are_refused_until_their_activation_is_given(
    tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    # given
    config = narrowed("ViT-B-32")
    gelu, quick = (
        open_clip_model(config | {"quick_gelu": quick_gelu}, seed=7) for quick_gelu in (False, True)
    )
    path = tmp_path / "weights.pt"
    write(gelu, path)
    # then neither is assumed, and both remedies are named
    message = refusal(path)
    assert "doesn't say whether the model has QuickGELU" in message
    assert "CLIP_WORKER_ACTIVATION, quick_gelu or gelu" in message
    assert "put the model's open_clip_config.json beside the file" in message
    # when the caller says it
    chosen = {name: read_checkpoint(path, activation=name) for name in get_args(Activation)}
    # then
    assert_agree(our_answers(chosen["gelu"].build()), open_clip_answers(gelu))
    assert_agree(our_answers(chosen["quick_gelu"].build()), open_clip_answers(quick))
    # and features of the two are never mixed up in a cache
    assert chosen["gelu"].digest() != chosen["quick_gelu"].digest()
    # when the config file lies beside it
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    # then
    assert_agree(our_answers(read_checkpoint(path).build()), open_clip_answers(gelu))


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'relu'; give one of quick_gelu, gelu"):
        read_checkpoint(tmp_path, activation="relu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["ViT-H-14", "ViT-H-16", "ViT-g-14", "ViT-bigG-14", "ViT-e-14", "ViT-L-14"]
)
def test_head_widths_of_the_large_models_are_known_without_a_config(
    name: str, tmp_path: Path
) -> None:
    # given weights of the true width and depth, whose other axes are cut down
    config = open_clip.get_model_config(name)
    width, layers = config["vision_cfg"]["width"], config["vision_cfg"]["layers"]
    state = {"visual.class_embedding": torch.zeros(width)} | {
        f"visual.transformer.resblocks.{index}.ln_1.bias": torch.zeros(1) for index in range(layers)
    }
    torch.save(state, tmp_path / "weights.pt")
    # when
    traits = read_checkpoint(tmp_path / "weights.pt", activation="gelu").traits
    # then
    assert traits.vision_head_width == config["vision_cfg"].get("head_width", 64)


@pytest.mark.parametrize("name", PUBLISHED)
def test_shapes_and_parameter_counts_of_the_published_models_are_right(name: str) -> None:
    # given OpenCLIP's model without its weights' values
    head_width, millions = PUBLISHED[name]
    with torch.device("meta"):
        oracle = open_clip.CLIP(**open_clip.get_model_config(name)).state_dict()
        # when
        config = infer_config(oracle, Traits(activation="gelu", vision_head_width=head_width))
        ours = CLIP(config)
    # then
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in oracle.items()
    }
    parameters = sum(weight.numel() for weight in ours.parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.005)
