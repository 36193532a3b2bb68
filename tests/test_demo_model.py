"""The shipped demo model: its file, its accuracy on what it never saw, and the card's figures."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from clip_engine.demo import draw_demo_pictures
from clip_engine.demo.scenes import all_scenes
from clip_engine.formats import read_checkpoint
from clip_engine.loader import load_engine, locate_checkpoint

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "clip_engine" / "demo"
PICTURES = 500
SEED = 11  # not the one of the model card


@pytest.fixture(scope="module")
def engine():
    return load_engine("demo")


@pytest.fixture(scope="module")
def scripts():
    """The measuring code of `scripts/`, which is no installed package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        from demo_model import evaluation, measures, report

        yield {"evaluation": evaluation, "measures": measures, "report": report}


@pytest.fixture(scope="module")
def held_out(engine, scripts):
    """Scenes whose colour, texture and shape never met in training, and their features."""
    scenes = scripts["measures"].sample_scenes(PICTURES, SEED, held_out=True)
    return scenes, scripts["measures"].encode_scenes(engine, scenes)


def test_the_file_is_small_enough_to_ship():
    assert locate_checkpoint("demo").stat().st_size <= 8_000_000


def test_the_file_has_openais_layout_in_half_precision():
    # when
    state = read_checkpoint(locate_checkpoint("demo")).state
    # then
    floats = [value for value in state.values() if value.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float16}
    assert state["input_resolution"].item() == 96
    assert state["context_length"].item() == 77
    assert state["vocab_size"].item() == len(state["token_embedding.weight"]) == 49408


def test_nine_in_ten_held_out_pictures_find_their_description_among_all(engine, scripts, held_out):
    # given
    scenes, images = held_out
    # when
    score = scripts["evaluation"].full_score(engine, scenes, images, list(all_scenes()))
    # then: chance is 1 in 36,864
    assert score.labels == 36864
    assert score.top1 >= 0.90


@pytest.mark.parametrize(
    ("told", "labels"),
    [
        (("shape",), 8),
        (("colour",), 8),
        (("texture",), 4),
        (("size",), 3),
        (("background",), 6),
        (("count",), 4),
        (("position",), 5),
        (("colour", "shape"), 64),
        (("count", "shape"), 32),
    ],
)
def test_short_labels_are_found_on_held_out_pictures(engine, scripts, held_out, told, labels):
    # when
    score = scripts["evaluation"].ask(engine, *held_out, told)
    # then
    assert score.labels == labels
    assert score.top1 >= 0.90


def test_the_demos_pictures_are_tagged_rightly(engine, tmp_path):
    # given
    pictures = draw_demo_pictures(tmp_path)
    # when
    best = {
        picture.file_name: engine.classify(
            [tmp_path / picture.file_name], picture.labels, k=picture.k
        )[0][0].label
        for picture in pictures
    }
    # then
    assert best == {picture.file_name: picture.answer for picture in pictures}


def test_the_card_has_the_figures_that_the_script_measured_on_this_file(scripts):
    # given
    figures = json.loads((DEMO / "evaluation.json").read_text(encoding="utf-8"))
    evaluation = scripts["evaluation"].Evaluation.from_figures(figures)
    # when
    card = (DEMO / "MODEL_CARD.md").read_text(encoding="utf-8")
    # then
    assert scripts["report"].with_tables(card, evaluation) == card
    assert evaluation.model_sha256 == hashlib.sha256((DEMO / "demo.pt").read_bytes()).hexdigest()
    assert evaluation.held_out.pictures >= 3000
