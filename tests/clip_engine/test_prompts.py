"""Prompt templates, the named ensembles, and the zero-shot classifier that they make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from support.tiny_clip import engine_around, stir

from clip_engine.engine import Engine
from clip_engine.errors import InputError
from clip_engine.model import build_model
from clip_engine.prompts import DEFAULT_TEMPLATE, check_templates, ensemble, ensembles, fill

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_ensembles.py"
LABELS = ["great white shark", "tabby cat", "Granny Smith apple", "crane (machine)", "Cœur & café"]
THEIRS = {
    "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
    "imagenet-simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
    "photo": ("a photo of a {}.",),
}


def oracle(**text: Any) -> Any:
    """open_clip's model with random weights: an image tower of no weight, a text tower as told."""
    torch.manual_seed(5)
    model = open_clip.CLIP(
        embed_dim=64,
        vision_cfg={"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        text_cfg={"context_length": 77, "vocab_size": 49408, **text},
        quick_gelu=True,
    ).eval()
    with torch.no_grad():
        stir(model, seed=6)
        model.transformer.resblocks[0].mlp.c_fc.weight.mul_(3)  # texts differ more
    return model


def engine_of(model: Any) -> Engine:
    return engine_around(build_model(model.state_dict()))


def theirs(model: Any, labels: list[str], name: str) -> torch.Tensor:
    """open_clip's classifier, `[L, D]`; its tokenizer cleans as OpenAI's if told so."""
    encode = open_clip.tokenizer.SimpleTokenizer(clean="lower")
    return open_clip.build_zero_shot_classifier(model, encode, labels, THEIRS[name]).T


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, {"width": 128, "heads": 2, "layers": 3}) for name in THEIRS),
        ("imagenet-simple", {"width": 512, "heads": 8, "layers": 12}),  # as ViT-B/32's
    ],
)
def test_the_classifier_of_an_ensemble_is_that_of_open_clip(name, text):
    # given
    model = oracle(**text)
    # when
    ours = engine_of(model).labels.get(LABELS, ensemble(name))
    # then
    expected = theirs(model, LABELS, name)
    assert (ours - expected).abs().max() <= 1e-5
    assert (expected @ expected.T).fill_diagonal_(0).max() < 0.999  # else anything would agree


def test_the_named_ensembles_are_those_of_the_clip_notebook():
    assert list(ensembles()) == ["photo", "imagenet", "imagenet-simple"]
    assert {name: len(templates) for name, templates in ensembles().items()} == {
        "photo": 1,
        "imagenet": 80,
        "imagenet-simple": 7,
    }
    for name in ("imagenet", "imagenet-simple"):
        filled = [fill(template, "cat") for template in ensemble(name)]
        assert filled == [template("cat") for template in THEIRS[name]]


def test_every_ensemble_has_templates_that_count_as_such():
    for name in ensembles():
        assert check_templates(ensemble(name)) == ensemble(name)
    assert ensemble("photo") == (DEFAULT_TEMPLATE,)


def test_an_unknown_ensemble_is_refused_with_the_names_that_there_are():
    with pytest.raises(InputError, match=r"Unknown ensemble 'ImageNet'; .* photo, imagenet, imag"):
        ensemble("ImageNet")


def test_the_ensembles_can_not_be_altered():
    with pytest.raises(TypeError):
        ensembles()["photo"] = ("{}",)


def test_the_script_builds_the_very_file_that_is_shipped(tmp_path):
    product = tmp_path / "ensembles.json"

    subprocess.run([sys.executable, SCRIPT, "--output", product], check=True, capture_output=True)

    shipped = SCRIPT.parent.parent / "clip_engine" / "data" / "ensembles.json"
    assert product.read_bytes() == shipped.read_bytes()


def test_the_script_refuses_other_lists(tmp_path):
    source = tmp_path / "zero_shot_metadata.py"
    source.write_text(
        "OPENAI_IMAGENET_TEMPLATES = [lambda c: f'a {c}.']\n"
        "SIMPLE_IMAGENET_TEMPLATES = OPENAI_IMAGENET_TEMPLATES\n"
    )
    product = tmp_path / "ensembles.json"

    done = subprocess.run(
        [sys.executable, SCRIPT, "--source", source, "--output", product],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "SHA-256" in done.stderr
    assert not product.exists()
