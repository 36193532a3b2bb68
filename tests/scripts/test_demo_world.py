"""The demo model's world: its scenes, its images and its captions."""

import itertools
from dataclasses import asdict, replace

import numpy as np
import pytest
from draw_demo_images import DRAWINGS, draw
from numpy.testing import assert_array_equal
from PIL import Image, ImageChops

from clip_engine.demo.world.captions import ONE, caption, describe, label, random_part
from clip_engine.demo.world.draw import COLOUR_HSV, draw_scene
from clip_engine.demo.world.scenes import AXES, VALUES, Scene, all_scenes
from clip_engine.demo.world.shapes import outline
from worker.cli.demo.images import DEMO_IMAGES, image_folder

SCENE = Scene("left", "large", "blue", "striped", "star", "white")


def pixels(scene: Scene, seed: int = 1, size: tuple[int, int] = (96, 96)) -> np.ndarray:
    return np.asarray(draw_scene(scene, size, seed), dtype=np.float64)


def test_all_scenes_are_different_and_their_number_is_the_product_of_the_axes():
    # when
    scenes = list(all_scenes())
    # then
    assert len(scenes) == len(set(scenes)) == 8 * 3 * 8 * 4 * 8 * 6


@pytest.mark.parametrize("axis", AXES)
def test_a_value_that_an_axis_does_not_have_is_refused_by_name(axis):
    # when
    with pytest.raises(ValueError, match=f"no {axis} is called 'plaid'; there are: ") as caught:
        replace(SCENE, **{axis: "plaid"})
    # then
    assert VALUES[axis][0] in str(caught.value)


def test_one_triple_in_nine_is_held_out_whatever_the_rest_of_the_scene():
    # given
    triples = {}
    for scene in all_scenes():
        key = (scene.colour, scene.texture, scene.shape)
        triples.setdefault(key, set()).add(scene.is_held_out)
    # then
    assert all(len(fates) == 1 for fates in triples.values())
    assert sum(fate for fates in triples.values() for fate in fates) == 29
    assert len(triples) == 256


def test_every_pair_of_values_of_different_axes_is_still_seen_in_training():
    # when
    seen = {
        frozenset(pair)
        for scene in all_scenes()
        if not scene.is_held_out
        for pair in itertools.combinations(asdict(scene).items(), 2)
    }
    # then
    axis_pairs = itertools.combinations(VALUES.values(), 2)
    assert len(seen) == sum(len(first) * len(second) for first, second in axis_pairs)


def test_the_same_seed_draws_the_same_picture_and_another_seed_another():
    # then
    assert_array_equal(pixels(SCENE, seed=3), pixels(SCENE, seed=3))
    assert np.abs(pixels(SCENE, seed=3) - pixels(SCENE, seed=4)).mean() > 1


@pytest.mark.parametrize("axis", AXES)
def test_every_value_of_every_axis_changes_the_picture(axis):
    # given: the same jitter, so that only the value differs
    drawn = [pixels(replace(SCENE, **{axis: value})) for value in VALUES[axis]]
    # then
    for one, other in itertools.combinations(drawn, 2):
        assert np.abs(one - other).mean() > 1


@pytest.mark.parametrize(
    ("position", "x", "y"),
    [("left", 24, 48), ("right", 72, 48), ("top", 48, 24), ("bottom", 48, 72), ("centre", 48, 48)],
)
def test_an_object_lies_where_its_position_says(position, x, y):
    # given
    scene = replace(SCENE, placement=position, texture="solid", shape="circle", background="black")
    # when
    bright = pixels(scene).max(axis=2) > 100
    rows, columns = np.nonzero(bright)
    # then
    assert columns.mean() == pytest.approx(x, abs=5)
    assert rows.mean() == pytest.approx(y, abs=5)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_as_many_objects_are_drawn_as_the_count_says_and_none_overlap(count):
    # given
    placement = {2: "two", 3: "three", 4: "four"}[count]
    single, several = (
        replace(SCENE, placement=value, texture="solid", shape="circle", background="black")
        for value in ("centre", placement)
    )
    # when: the same seed gives the same diameter
    areas = [(pixels(scene).max(axis=2) > 100).sum() for scene in (single, several)]
    # then
    assert areas[1] / areas[0] == pytest.approx(count, rel=0.1)


def test_a_wide_picture_has_the_layout_of_its_centre_square():
    # given
    scene = replace(SCENE, texture="solid", background="black")
    # when
    square = pixels(scene, size=(192, 192))
    wide = pixels(scene, size=(256, 192))[:, 32:-32]
    # then: but for the film grain
    assert np.abs(square - wide).mean() < 5


def test_colours_are_apart_in_hue():
    # given
    hues = sorted(hue for hue, _, _ in COLOUR_HSV.values())
    # then: jitter is 5 degrees either way
    assert min(b - a for a, b in itertools.pairwise([*hues, hues[0] + 360])) > 20


@pytest.mark.parametrize("shape", VALUES["shape"])
def test_an_outline_stays_within_the_radius_that_the_layout_counts_on(shape):
    # when
    corners = outline(shape)
    # then
    assert np.hypot(*corners.T).max() < 1.2
    assert np.abs(corners).max() <= 1.06


def test_descriptions_tell_all_scenes_apart():
    # when
    descriptions = {describe(scene) for scene in all_scenes()}
    # then
    assert len(descriptions) == len(list(all_scenes()))


@pytest.mark.parametrize(
    ("meaning", "text"),
    [
        ({"colour": "red"}, "red"),
        ({"shape": "circle"}, "circle"),
        ({"colour": "red", "shape": "circle"}, "red circle"),
        ({"placement": "three"}, "three"),
        ({"placement": "three", "colour": "green", "shape": "cross"}, "three green crosses"),
        ({"placement": "left"}, "left"),
        ({"placement": "left", "shape": "moon"}, "moon on the left"),
        ({"placement": ONE, "shape": "moon"}, "one moon"),
        ({"background": "white"}, "white background"),
        ({"shape": "heart", "background": "night sky"}, "heart in the night sky"),
    ],
)
def test_a_label_says_its_meaning_in_plain_words(meaning, text):
    assert label(meaning) == text


def test_a_random_part_of_a_scene_is_true_of_it_and_leaves_something_out():
    # given
    rng = np.random.default_rng(0)
    # when
    parts = [random_part(SCENE, rng) for _ in range(200)]
    # then
    whole = asdict(SCENE)
    for part in parts:
        assert 0 < len(part) < len(AXES)
        assert all(
            value in (whole[axis], ONE if axis == "placement" else None)
            for axis, value in part.items()
        )
    assert {axis for part in parts for axis in part} == set(AXES)


def test_a_caption_of_a_meaning_comes_in_many_wordings():
    # given
    rng = np.random.default_rng(0)
    meaning = {"colour": "purple", "texture": "dotted", "shape": "moon"}
    # when
    texts = {caption(meaning, rng, plural=False) for _ in range(300)}
    # then
    assert "a photo of a purple dotted moon." in texts
    assert any("violet" in text and "crescent" in text for text in texts)
    assert len(texts) > 30


def test_the_demos_images_are_the_drawings_in_several_formats_and_sizes(tmp_path):
    # when
    draw(tmp_path)
    # then: but for what encoders of other versions do
    names = [image.file_name for image in DEMO_IMAGES]
    assert names == [name for name, _, _ in DRAWINGS]
    assert {path.name for path in image_folder().iterdir()} == {*names}
    for name in names:
        with Image.open(image_folder() / name) as shipped, Image.open(tmp_path / name) as drawn:
            difference = ImageChops.difference(shipped.convert("RGB"), drawn.convert("RGB"))
        assert np.mean(difference) < 3
    assert len(names) >= 12
    assert len({name.rpartition(".")[2] for name in names}) >= 3
    assert len({size for _, _, size in DRAWINGS}) >= 3


def test_each_demo_question_has_its_answer_among_its_labels_and_describes_its_drawing():
    for image, (_, scene, _) in zip(DEMO_IMAGES, DRAWINGS, strict=True):
        assert {*image.true} < {*image.labels}
        assert len({*image.labels}) == len(image.labels)
        assert image.description == describe(scene)


def test_some_of_the_demos_images_show_what_was_held_out_of_training():
    assert sum(scene.is_held_out for _, scene, _ in DRAWINGS) >= 4
