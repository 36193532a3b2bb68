"""The shipped demo model: its file, its accuracy on what it never saw, and the card's figures."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from demo_model.evaluation import Evaluation, ask, full_score, weak_spots, wilson
from demo_model.measures import encode_scenes, sample_scenes, scene_indices, seeds_of
from demo_model.report import headline, with_tables

from clip_engine.demo.world.scenes import Scene, all_scenes
from clip_engine.formats import read_checkpoint
from clip_engine.loader import load_engine
from clip_engine.weights.locate import locate_model
from worker.cli.demo.images import DEMO_IMAGES

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "clip_engine" / "demo"
PICTURES = 500
SEED = 11  # not the one of the model card


@pytest.fixture(scope="module")
def engine():
    return load_engine("demo")


@pytest.fixture(scope="module")
def held_out(engine):
    """Scenes whose colour, texture and shape never met in training, and their features."""
    scenes = sample_scenes(PICTURES, SEED, held_out=True)
    return scenes, encode_scenes(engine, scenes)


def test_the_file_is_small_enough_to_ship():
    assert locate_model("demo").path.stat().st_size <= 8_000_000


def test_the_file_has_openais_layout_in_half_precision():
    # when
    state = read_checkpoint(locate_model("demo").path).state
    # then
    floats = [value for value in state.values() if value.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float16}
    assert state["input_resolution"].item() == 96
    assert state["context_length"].item() == 77
    assert state["vocab_size"].item() == len(state["token_embedding.weight"]) == 49408


@pytest.mark.slow
def test_nine_in_ten_held_out_pictures_find_their_description_among_all(engine, held_out):
    # given
    scenes, images = held_out
    # when
    score = full_score(engine, scenes, images, list(all_scenes()))
    # then: chance is 1 in 36,864
    assert score.labels == 36864
    assert score.top1 >= 0.90


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "labels"),
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
def test_short_labels_are_found_on_held_out_pictures(engine, held_out, axes, labels):
    # when
    score = ask(engine, *held_out, axes)
    # then
    assert score.labels == labels
    assert score.top1 >= 0.90


@pytest.mark.parametrize("image", DEMO_IMAGES, ids=lambda image: image.file_name)
def test_the_demos_images_are_tagged_rightly(engine, image):
    [predictions] = engine.classify([image.path], image.labels, k=len(image.true))
    assert tuple(prediction.label for prediction in predictions) == image.true


@pytest.fixture
def evaluation():
    """What was measured on the shipped model."""
    figures = json.loads((DEMO / "evaluation.json").read_text(encoding="utf-8"))
    return Evaluation.from_figures(figures)


def test_the_card_has_the_figures_that_the_script_measured_on_this_file(evaluation):
    # when
    card = (DEMO / "MODEL_CARD.md").read_text(encoding="utf-8")
    # then
    assert with_tables(card, evaluation) == card
    assert evaluation.model_sha256 == hashlib.sha256((DEMO / "demo.pt").read_bytes()).hexdigest()
    assert evaluation.held_out.pictures >= 3000


def test_the_card_states_the_measured_share_with_its_interval_and_weak_spot(evaluation):
    # given
    sentence = headline(evaluation)
    score, worst = evaluation.held_out, evaluation.weak_spots[0]
    # then
    card = (DEMO / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert sentence in " ".join(card.split())
    assert f"{100 * score.top1:.2f} %" in sentence
    assert f"{100 * score.low:.2f} to {100 * score.high:.2f} %" in sentence
    assert worst.shows in sentence


def test_the_interval_is_that_of_the_measured_share(evaluation):
    score = evaluation.held_out
    low, high = wilson(round(score.top1 * score.pictures), score.pictures)
    assert (score.low, score.high) == pytest.approx((low, high), abs=1e-4)
    assert high - low < 0.003


@pytest.mark.parametrize(
    ("right", "pictures", "interval"),
    [(95, 100, (0.8882, 0.9785)), (0, 10, (0, 0.2775)), (10, 10, (0.7225, 1)), (1, 1, (0.2065, 1))],
)
def test_wilsons_interval_by_published_examples(right, pictures, interval):
    assert wilson(right, pictures) == pytest.approx(interval, abs=5e-5)


def test_the_weak_spot_is_where_most_descriptions_are_wrong():
    # given images of two kinds, of which one is read wrongly twice, and the other once
    moon = Scene("left", "small", "yellow", "solid", "moon", "grass")
    star = Scene("two", "large", "red", "hollow", "star", "sand")
    scenes = [star, moon, moon, moon]
    guessed = scene_indices(
        [
            replace(star, shape="moon"),
            replace(moon, texture="dotted"),
            moon,
            replace(moon, texture="dotted", placement="two"),
        ]
    )
    # when
    spots = weak_spots(scenes, guessed)
    # then
    assert [(spot.shows, spot.pictures, spot.wrong, spot.times) for spot in spots] == [
        ("small yellow solid moon", 3, 2, 1),
        ("large red hollow star", 1, 1, 1),
    ]
    assert spots[1].mostly_read_as == "moon"


def test_another_seed_draws_other_pictures(engine):
    scenes = sample_scenes(2, SEED, held_out=True)
    first, second = (encode_scenes(engine, scenes, first_seed=seeds_of(seed)) for seed in (1, 2))
    assert not torch.equal(first, second)
