"""The loss that the demo model is trained with, against results worked out by hand."""

import math
from dataclasses import asdict

import pytest
import torch
from demo_model.dataset import (
    FULL_CAPTIONS,
    UNTOLD,
    WRONG_CAPTIONS,
    _example,
    meaning_indices,
)
from demo_model.losses import contrastive_loss, label_loss, truth

from clip_engine.demo.world.captions import ONE
from clip_engine.demo.world.scenes import Scene, all_scenes

CIRCLE = Scene("left", "small", "red", "solid", "circle", "white")
HEARTS = Scene("two", "small", "blue", "solid", "heart", "white")


def truth_of(meanings):
    scenes = torch.tensor([CIRCLE.indices, HEARTS.indices])
    return truth(scenes, torch.tensor([meaning_indices(meaning) for meaning in meanings])).tolist()


def test_a_caption_is_true_of_each_picture_that_has_all_it_tells():
    # given
    meanings = [
        asdict(CIRCLE),
        {"size": "small"},
        {"size": "small", "shape": "heart"},
        {"placement": "left"},
        {"placement": "two"},
        {"placement": ONE},
        {"background": "sand"},
    ]
    # then
    assert truth_of(meanings) == [
        [True, True, False, True, False, True, False],
        [False, True, True, False, True, False, False],
    ]


def test_the_loss_without_further_truths_is_clips_symmetric_cross_entropy():
    # given
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.3, 1.0, 0.0], [0.1, 0.2, -0.7]])
    own = torch.arange(3)
    # when
    loss = contrastive_loss(logits, torch.eye(3, dtype=torch.bool), own_captions=1)
    # then
    of_pictures = torch.nn.functional.cross_entropy(logits, own)
    of_captions = torch.nn.functional.cross_entropy(logits.T, own)
    assert loss.item() == pytest.approx(((of_pictures + of_captions) / 2).item(), rel=1e-6)


def test_a_caption_that_is_true_of_a_neighbour_too_is_no_wrong_answer():
    # given: both captions are true of image 0, the second only is true of image 1
    logits = torch.tensor([[1.0, 5.0], [0.0, 2.0]])
    is_true = torch.tensor([[True, True], [False, True]])
    # when
    loss = contrastive_loss(logits, is_true, own_captions=1)
    # then: image 0 and caption 1 have no wrong answers; the others have one, worth 0
    of_picture_1 = math.log(math.exp(2.0) + math.exp(0.0)) - 2.0
    of_caption_0 = math.log(math.exp(1.0) + math.exp(0.0)) - 1.0
    assert loss.item() == pytest.approx((of_picture_1 / 2 + of_caption_0 / 2) / 2, rel=1e-6)


def test_captions_past_a_pictures_own_only_serve_as_wrong_answers():
    # given: one image, its own caption and a wrong one
    logits = torch.tensor([[1.0, 3.0]])
    # when
    loss = contrastive_loss(logits, torch.tensor([[True, False]]), own_captions=1)
    # then: the caption's side of the loss has no other image
    assert loss.item() == pytest.approx((math.log(math.e + math.exp(3.0)) - 1.0) / 2, rel=1e-6)


def test_one_word_labels_are_scored_axis_by_axis():
    # given: axes of two and three values, logits that say nothing
    logits = torch.zeros(1, 5)
    # when
    loss = label_loss(logits, torch.tensor([[1, 2]]), [2, 3])
    # then
    assert loss.item() == pytest.approx((math.log(2) + math.log(3)) / 2, rel=1e-6)


def test_a_training_example_names_and_draws_nothing_that_is_held_out():
    # given
    known = list(all_scenes())
    held_out = {scene.indices[2:5] for scene in known if scene.is_held_out}
    scenes = [scene for scene in known if not scene.is_held_out][::997]
    # when
    examples = [_example(scene, 32, (5, i)) for i, scene in enumerate(scenes)]
    # then
    for (pixels, tokens, meanings), scene in zip(examples, scenes, strict=True):
        assert pixels.shape == (3, 32, 32)
        assert len(tokens) == len(meanings)
        assert all(tuple(meaning[2:5]) not in held_out for meaning in meanings)
        assert (meanings[:FULL_CAPTIONS] == scene.indices).all()
        assert all(
            tuple(wrong) != scene.indices and UNTOLD not in wrong
            for wrong in meanings[-WRONG_CAPTIONS:]
        )
