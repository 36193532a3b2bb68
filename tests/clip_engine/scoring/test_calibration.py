"""Calibration: by hand, against a search over all values, and for images that say too little."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from support.tiny_clip import tiny_engine
from torch import Tensor
from torch.nn import functional

from clip_engine.errors import InputError
from clip_engine.scoring.calibration import FEWEST_IMAGES, NONE, Calibration, fit, threshold
from clip_engine.scoring.calibration_error import expected_calibration_error, reliability
from clip_engine.scoring.logits import Logits, probabilities
from clip_engine.scoring.options import SCORES, Scoring

SOFTMAX, SIGMOID = Scoring(), Scoring("sigmoid")
WITH_NONE = Scoring(none_of_these=True)


def drawn(seed: int, rows: int, labels: int, temperature: float = 1.0) -> tuple[Logits, Tensor]:
    """Logits, and the right labels as they come at a temperature; a third of the rows has none."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, labels, generator=generator)
    none = logits.logsumexp(dim=1) + 2 * torch.randn(rows, generator=generator)
    shares = (logits / temperature).softmax(dim=1)
    right = torch.multinomial(shares, 1, generator=generator)[:, 0]
    odds = none - logits.logsumexp(dim=1) - 1
    right[torch.rand(rows, generator=generator) < odds.sigmoid()] = NONE
    return Logits(logits, none), right


def applied(fitted: Calibration, scoring: Scoring) -> Scoring:
    return replace(scoring, temperature=fitted.temperature, none_bias=fitted.none_bias)


def loss(found: Logits, right: Tensor, scoring: Scoring) -> float:
    """The negative log-likelihood with the priors, in the words of torch and float64."""
    labels = found.labels.double()
    inverse, bias = 1 / scoring.temperature, scoring.none_bias
    prior = inverse - math.log(inverse) + (bias / 5) ** 2 / 2
    if scoring.score == "sigmoid":
        truth = torch.zeros(len(right), labels.shape[1] + 1).double()
        truth[range(len(right)), right] = 1  # NONE is the last one
        odds = labels * inverse - bias
        each = functional.binary_cross_entropy_with_logits(odds, truth[:, :-1], reduction="sum")
        return float(each) + prior
    if scoring.none_of_these:
        assert found.none is not None
        none = found.none.double()[:, None] * inverse + bias
        logits = torch.cat([none, labels * inverse], dim=1)
        return float(functional.cross_entropy(logits, right + 1, reduction="sum")) + prior
    some = right != NONE
    each = functional.cross_entropy(labels[some] * inverse, right[some], reduction="sum")
    return float(each) + prior


# --- the fit ---


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0, 8.0])
def test_the_temperature_is_the_best_of_a_grid_and_the_one_that_rows_were_drawn_with(
    temperature: float,
) -> None:
    found, right = drawn(1, 3000, 12, temperature)
    fitted = fit(Logits(found.labels), right, SOFTMAX).temperature
    grid = [0.2 * 1.01**i for i in range(450)]
    best = min(grid, key=lambda value: loss(found, right, Scoring(temperature=value)))
    assert fitted == pytest.approx(best, rel=0.006)
    assert fitted == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scoring", [SIGMOID, WITH_NONE])
def test_temperature_and_bias_are_the_best_of_a_grid(scoring: Scoring, seed: int) -> None:
    found, right = drawn(seed, 60, 4)
    fitted = fit(found, right, scoring)
    least = loss(found, right, applied(fitted, scoring))
    grid = [
        replace(scoring, temperature=0.3 * 1.1**i, none_bias=-4 + 0.25 * j)
        for i in range(50)
        for j in range(50)
    ]
    best = min(grid, key=lambda each: loss(found, right, each))
    assert least <= loss(found, right, best)
    assert fitted.temperature == pytest.approx(best.temperature, rel=0.11)
    assert fitted.none_bias == pytest.approx(best.none_bias, abs=0.26)


def test_a_temperature_by_hand() -> None:
    # given 1,000 images with logits 6 and 0, of which the first label is right for 800
    found = Logits(torch.tensor([[6.0, 0.0]]).expand(1000, 2))
    right = torch.tensor([0] * 800 + [1] * 200)
    # then odds of 4 are right, whose logarithm is 1.3863
    assert fit(found, right, SOFTMAX).temperature == pytest.approx(6 / 1.3863, rel=3e-3)
    assert fit(found, right, SIGMOID).rows == 1000


def test_with_the_bias_none_of_these_is_as_frequent_as_it_is_probable() -> None:
    found, right = drawn(2, 2000, 10)
    fitted = fit(found, right, WITH_NONE)
    scoring = applied(fitted, WITH_NONE)
    none = probabilities(
        Logits(*(each.double() for each in found if each is not None)), scoring
    ).none
    assert none is not None
    assert float(none.sum()) == pytest.approx(float((right == NONE).sum()), abs=0.2)
    assert fit(found, right.clamp(min=0), WITH_NONE).none_bias == 0
    assert fit(Logits(found.labels), right, SOFTMAX).none_bias == 0


def test_the_order_of_images_makes_no_difference_and_each_fit_is_the_same() -> None:
    found, right = drawn(3, 300, 6)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert found.none is not None
    for scoring in (SOFTMAX, WITH_NONE, SIGMOID):
        first = fit(found, right, scoring)
        assert fit(found, right, scoring) == first
        moved = fit(Logits(found.labels[order], found.none[order]), right[order], scoring)
        assert moved.temperature == pytest.approx(first.temperature, rel=1e-9)
        assert moved.none_bias == pytest.approx(first.none_bias, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
@pytest.mark.parametrize("rows", [1, 1000])
@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize("labels", [[90.0, 0.0], [0.0, 0.0], [5.0]])
def test_images_that_are_all_right_or_all_wrong_give_finite_numbers(
    score: Any, rows: int, right: int, labels: list[float]
) -> None:
    found = Logits(torch.tensor([labels]).expand(rows, -1), torch.zeros(rows))
    scoring = Scoring(score, none_of_these=True)
    fitted = fit(found, torch.full((rows,), min(right, len(labels) - 1)), scoring)
    applied(fitted, scoring)  # which refuses what is not finite
    assert fitted.thresholds == (None,) * len(labels)


@pytest.mark.parametrize(
    ("labels", "right", "message"),
    [
        ([[1.0, math.nan]], [0], "contain NaN or infinity"),
        ([[1.0, math.inf]], [0], "contain NaN or infinity"),
        ([[1.0, 2.0]], [2], "are from 2 to 2; give indices below 2, or -1 if no label fits"),
        ([[1.0, 2.0]], [-2], "are from -2 to -2"),
        ([[1.0, 2.0]], [NONE], "No image has a right label"),
        ([[1.0, 2.0]], [0, 1], "There are 1 images and 2 right labels"),
    ],
)
def test_what_can_not_be_fitted_is_refused(labels: Any, right: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(Logits(torch.tensor(labels)), torch.tensor(right), SOFTMAX)


# --- thresholds ---


def f1(scores: Tensor, right: Tensor, least: float) -> float:
    kept = scores >= least
    return 2 * float((kept & right).sum()) / float(kept.sum() + right.sum())


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_has_a_better_f1(seed: int) -> None:
    # given scores with ties
    generator = torch.Generator().manual_seed(seed)
    right = torch.rand(80, generator=generator) < 0.4
    scores = (torch.randn(80, generator=generator) + 1.5 * right).mul(4).round() / 4
    found = threshold(scores, right)
    assert found is not None
    values = sorted({*scores.tolist()})
    all_of_them = [values[0] - 1, *(sum(pair) / 2 for pair in pairwise(values)), values[-1] + 1]
    assert f1(scores, right, found) == max(f1(scores, right, each) for each in all_of_them)


def test_a_threshold_by_hand_lies_midway() -> None:
    scores = torch.tensor([0.9] * 9 + [0.5, 0.4] + [0.1] * 9)
    right = torch.tensor([True] * 9 + [False, True] + [False] * 9)
    # with 0.5 and 0.4 kept 10 of 11 are right; without, 9 of 9, and one is missing: F1 20/21, 18/19
    assert threshold(scores, right) == pytest.approx(0.25)


def test_few_images_and_no_contrast_give_no_threshold() -> None:
    scores = torch.arange(30).double()
    assert threshold(scores, scores >= 30 - FEWEST_IMAGES) == pytest.approx(19.5)
    assert threshold(scores, scores > 30 - FEWEST_IMAGES) is None
    assert threshold(scores, scores >= 0) is None


@pytest.mark.parametrize("score", SCORES)
def test_an_engines_calibration_fits_its_scores(score: Any) -> None:
    # given images near the features of their labels, and a third near none
    engine, scoring = tiny_engine(), Scoring(score, none_of_these=True)
    noise = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
    labels = functional.normalize(noise[:5], dim=1)
    right = torch.arange(300) % 6 - 1  # a sixth is NONE
    images = torch.cat([torch.zeros(1, 32), labels])[right + 1] + 0.25 * noise
    lists = engine.text_lists("abcde", ("{}",), scoring)
    texts = engine.text_features([labels, *(engine.labels.get(*each) for each in lists[1:])])
    images = functional.normalize(images, dim=1)
    # when
    fitted = engine.calibrate(images, texts, right, scoring)
    # then each label's threshold is on the scale of its scores, and parts most of its images
    ranked = engine.rank(images, texts, 5, applied(fitted, scoring))
    scores = ranked.scores or ranked.probabilities
    outcomes = [
        (value >= (fitted.thresholds[index] or math.inf), index == truth)
        for truth, values, indices in zip(right.tolist(), scores, ranked.indices, strict=True)
        for value, index in zip(values, indices, strict=True)
    ]
    kept_and_right = sum(kept and is_right for kept, is_right in outcomes)
    assert 2 * kept_and_right / sum(kept + is_right for kept, is_right in outcomes) > 0.8


# --- the expected calibration error ---


def test_a_calibration_error_by_hand() -> None:
    # given bins of a half: 0.2 and 0.5 in the first, of which one is right; 0.6, 1 and 1 in the
    # other, of which two are
    stated = torch.tensor([0.2, 0.5, 0.6, 1.0, 1.0])
    right = torch.tensor([True, False, False, True, True])
    found = reliability(stated, right, bins=2)
    assert found.predictions.tolist() == [2, 3]
    assert found.probability.tolist() == pytest.approx([0.35, 2.6 / 3])
    assert found.right.tolist() == pytest.approx([0.5, 2 / 3])
    error = expected_calibration_error(stated, right, bins=2)
    assert error == pytest.approx((2 * 0.15 + 3 * 0.2) / 5)


def test_a_calibration_error_is_what_a_loop_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    stated = torch.rand(2000, generator=generator)
    right = torch.rand(2000, generator=generator) < stated.square()
    error = 0.0
    for number in range(15):
        rows = [i for i, p in enumerate(stated.tolist()) if number / 15 < p <= (number + 1) / 15]
        error += abs(sum(stated[i].item() - right[i].item() for i in rows)) / 2000
    assert expected_calibration_error(stated, right) == pytest.approx(error, abs=1e-9)
    assert expected_calibration_error(torch.zeros(3), torch.zeros(3).bool()) == 0
