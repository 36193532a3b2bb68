"""`clip-worker models info`, and invalid input of all its commands."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support.checkpoints import TIMM_WARNINGS
from support.open_clip_families import save_family
from support.tiny_clip import TINY_RESNET, TINY_VIT, write_tiny
from support.transformers_families import save_model
from support.weights_server import published

from clip_engine import load_engine
from clip_engine.model import CLIP, CLIPConfig

# --- info ---


@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET])
def test_a_checkpoint_is_described(described, tmp_path, config: CLIPConfig):
    path = write_tiny(tmp_path, config=config, dtype=torch.float32)

    description = described(path)

    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in CLIP(config).parameters())
    expected = {"path": str(path), "published": None, "parameters": parameters}
    assert description.items() >= expected.items()
    assert "state dict" in description["format"]
    assert list(description["dtypes"]) == ["float32"]
    for name in ("embed_dim", "vision_patch_size"):
        assert description["config"][name] == getattr(config, name)


def test_the_numbers_of_vit_b_32_are_the_published_ones(models, tmp_path):
    # given: a model of that architecture, in half precision
    config = CLIPConfig(
        embed_dim=512,
        image_resolution=224,
        vision_layers=12,
        vision_width=768,
        vision_patch_size=32,
        transformer_width=512,
        transformer_layers=12,
    )
    with torch.device("meta"):
        shapes = CLIP(config).state_dict()
    state = {name: torch.zeros(like.shape, dtype=torch.float16) for name, like in shapes.items()}
    torch.save(state, tmp_path / "zeros.pt")

    _, lines, _ = models("info", tmp_path / "zeros.pt", "--activation", "gelu")

    description = {name: value.strip() for name, value in (line.split("  ", 1) for line in lines)}
    assert description["parameters"] == "151,277,313"
    assert description["stored as"] == "float16 (151,277,313)"
    assert (description["image resolution"], description["vision layers"]) == ("224", "12")
    assert description["activation"] == "gelu"
    assert "None" not in description.values()


def test_a_published_model_is_found_by_its_name_and_recognised_by_its_bytes(
    described, publish, cache, tmp_path
):
    path = write_tiny(cache)
    entry = published("http://publisher.invalid/", path.read_bytes())
    publish(entry)
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())

    by_name, by_path = described("tiny"), described(copy)

    assert (by_name["published"], by_name["digest"]) == ("tiny", entry.sha256)
    assert by_path == by_name | {"path": str(copy)}


def test_the_demo_model_is_described(described):
    assert described("demo")["parameters"] > 0


@pytest.mark.filterwarnings(*TIMM_WARNINGS)
@pytest.mark.parametrize(
    ("save", "family", "library"),
    [
        (partial(save_family, "coca"), "CoCa", "open_clip"),
        (partial(save_model, "metaclip2"), "MetaCLIP 2", "transformers"),
    ],
    ids=["open_clip", "transformers"],
)
def test_a_model_of_another_family_is_described(described, tmp_path, capsys, save, family, library):
    save(tmp_path)
    capsys.readouterr()  # the progress bar of transformers, which saves it

    description = described(tmp_path)

    assert (description["family"], description["library"]) == (family, library)
    assert description["digest"] == load_engine(str(tmp_path)).identity.digest
    assert description["parameters"] > 0
    assert description["config"].items() >= {"trained_with": "softmax"}.items()


def test_a_model_of_the_hub_that_is_not_in_the_cache_is_not_downloaded(models, hub):
    status, printed, [error] = models("info", "openai/clip-vit-base-patch32")

    assert (status, printed) == (2, [])
    assert "`clip-worker models download openai/clip-vit-base-patch32`" in error
    assert hub.requests == []


# --- invalid input ---


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["download", "ViT-B-32"], "Unknown model 'ViT-B-32'. Did you mean 'ViT-B/32'?"),
        (["verify", "vit"], "Unknown model 'vit'. Give one of demo, RN50, RN101"),
        (["verify", "demo"], "'demo' was not downloaded, so there is no hash to compare it with"),
        (["info", "nowhere.pt"], "Unknown model 'nowhere.pt'. Give one of demo"),
        (["info", "x" * 5000], "Unknown model 'xxx"),
        (["info", "RN50"], "RN50.pt'; download it with `clip-worker models download RN50`"),
        (["download", "RN50", "--mirror", "mirror.example"], "'mirror.example' is no mirror"),
        (["list", "--mirror", "ftp://a.example"], "'ftp://a.example' is no mirror"),
    ],
)
def test_invalid_input_is_one_sentence_and_status_2(models, arguments, part):
    status, printed, [error] = models(*arguments)

    assert (status, printed) == (2, [])
    assert part in error


@pytest.mark.parametrize("command", ["list", "download", "verify", "info"])
def test_a_cache_that_is_a_file_is_invalid_input(models, tmp_path, command):
    (tmp_path / "file").touch()
    names = [] if command == "list" else ["RN50"]

    status, _, errors = models(command, *names, "--cache-dir", tmp_path / "file")

    assert status == 2
    assert f"'{tmp_path / 'file'}' is a file" in errors[-1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *(
            (content, "wrong.pt'")
            for content in (b"", b"<html>404</html>", b"PK\x03\x04 and no more", b"text")
        ),
        ({"fc.weight": torch.zeros(3, 3)}, "fc.weight"),
    ],
    ids=["an empty file", "a web page", "a truncated archive", "text", "another network"],
)
def test_a_file_that_is_not_a_checkpoint_is_invalid_input(models, tmp_path, content, words):
    path = tmp_path / "wrong.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)

    status, printed, errors = models("info", path)

    assert (status, printed) == (2, [])
    assert words in errors[0]
    assert not any("Traceback" in line for line in errors)
