"""The table of known models agrees with open_clip's configs and table of tags."""

from __future__ import annotations

import dataclasses

import check_known_models
import open_clip
import pytest
from support.checkpoints import TIMM_WARNINGS

from clip_engine.weights.catalog import PUBLISHED
from clip_engine.weights.known import VIT_B_32_GFLOPS, KnownModel, known_models
from clip_engine.weights.open_clip_tags import all_tags

pytestmark = pytest.mark.filterwarnings(*TIMM_WARNINGS)

MODELS = known_models()
FAMILIES = {  # that issue and docs name
    *("OpenAI CLIP", "OpenCLIP", "SigLIP", "SigLIP 2", "MetaCLIP", "MetaCLIP 2", "DFN", "EVA-02"),
    *("MobileCLIP 2", "PE-Core", "ConvNeXt", "CoCa", "ViTamin", "CLIPA", "NLLB-CLIP"),
}
QUICK = ("ViT-B/32", "MobileCLIP2-S0/dfndr2b", "PE-Core-B-16/meta", "nllb-clip-base-siglip/v1")


def test_the_table_has_openais_models_and_one_of_each_family() -> None:
    assert [model.name for model in MODELS[:9]] == list(PUBLISHED)
    assert {model.family for model in MODELS} == FAMILIES
    assert len({model.name for model in MODELS}) == len(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_of_the_table_is_one_that_can_be_located(model: KnownModel) -> None:
    assert model.architecture in open_clip.list_models()
    assert (model.repository is None) == (model.name in PUBLISHED)
    place = check_known_models.place(model.name)
    assert (model.repository, model.weights) == (place["repository"], place["weights"])
    if model.name not in PUBLISHED:
        assert model.name in all_tags()
        assert model.name.partition("/")[0] == model.architecture


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_is_said_about_a_model_has_its_source(model: KnownModel) -> None:
    assert (model.licence is None) == (model.licence_source is None)
    assert (model.imagenet is None) == (model.imagenet_source is None)
    vision = open_clip.get_model_config(model.architecture)["vision_cfg"]
    assert model.resolution == vision["image_size"]


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(m, id=m.name, marks=() if m.name in QUICK else (pytest.mark.slow,))
        for m in MODELS
    ],
)
def test_parameters_and_operations_are_those_of_the_architecture(model: KnownModel) -> None:
    figures = check_known_models.figures(model.architecture)
    assert dataclasses.asdict(model).items() >= figures.items()


def test_the_page_has_the_table() -> None:
    page = check_known_models.PAGE.read_text(encoding="utf-8")
    assert check_known_models.with_table(page) == page


def test_the_unit_of_cost_is_vit_b_32() -> None:
    assert next(m for m in MODELS if m.name == "ViT-B/32").image_gflops == VIT_B_32_GFLOPS
