"""The list of published models."""

from __future__ import annotations

import dataclasses
import re

import pytest

from clip_engine.weights.catalog import PUBLISHED


def test_the_nine_models_of_openai_are_listed_with_the_resolutions_of_the_paper():
    assert [(name, model.input_resolution) for name, model in PUBLISHED.items()] == [
        ("RN50", 224),
        ("RN101", 224),
        ("RN50x4", 288),
        ("RN50x16", 384),
        ("RN50x64", 448),
        ("ViT-B/32", 224),
        ("ViT-B/16", 224),
        ("ViT-L/14", 224),
        ("ViT-L/14@336px", 336),
    ]
    assert all(name == published.name for name, published in PUBLISHED.items())


def test_each_address_holds_the_digest_and_the_file_s_name():
    for published in PUBLISHED.values():
        assert re.fullmatch(r"[0-9a-f]{64}", published.sha256)
        assert published.url == (
            "https://openaipublic.azureedge.net/clip/models/"
            f"{published.sha256}/{published.filename}"
        )
    assert len({published.sha256 for published in PUBLISHED.values()}) == 9


def test_names_become_file_names_as_openai_spells_them():
    assert PUBLISHED["ViT-B/32"].filename == "ViT-B-32.pt"
    assert PUBLISHED["ViT-L/14@336px"].filename == "ViT-L-14-336px.pt"
    assert PUBLISHED["RN50x4"].filename == "RN50x4.pt"


@pytest.mark.parametrize("mirror", ["https://mirror.example/clip", "https://mirror.example/clip/"])
def test_a_mirror_keeps_the_publisher_s_layout(mirror):
    rn50 = PUBLISHED["RN50"]

    assert rn50.mirrored(mirror) == f"https://mirror.example/clip/{rn50.sha256}/RN50.pt"


def test_the_list_can_not_be_altered():
    with pytest.raises(TypeError):
        PUBLISHED["RN50"] = PUBLISHED["RN101"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PUBLISHED["RN50"].sha256 = "0"
