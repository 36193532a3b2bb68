"""Cross-validation of calibrations: measures by hand, and what is held out."""

from __future__ import annotations

import pytest
import torch

from clip_engine.scoring.cross_validation import cross_validate, measures
from clip_engine.scoring.logits import Logits, Probabilities
from clip_engine.scoring.options import Scoring

SOFTMAX = Scoring("softmax", none_of_these=True)
SIGMOID = Scoring("sigmoid", none_of_these=True)


def test_measures_of_five_images_by_hand():
    # given: right, wrong label, right none, wrong none, label instead of none
    labels = torch.tensor([[0.9, 0.0], [0.3, 0.6], [0.1, 0.1], [0.2, 0.1], [0.0, 0.7]])
    none = torch.tensor([0.1, 0.1, 0.8, 0.7, 0.3])
    right = torch.tensor([0, 0, -1, 1, -1])

    found = measures(Probabilities(labels, none), right, SOFTMAX)

    # then: first answers 0.9 right, 0.6 wrong, 0.8 right, 0.7 and 0.7 wrong (one bin of 15)
    assert found.accuracy == pytest.approx(2 / 5)
    assert found.calibration_error == pytest.approx((0.1 + 0.6 + 0.2 + 2 * 0.7) / 5)
    assert (found.none_precision, found.none_recall) == (0.5, 0.5)


def test_for_independent_scores_none_of_these_is_first_if_it_is_above_one_half():
    labels, right = torch.tensor([[0.3, 0.4]]), torch.tensor([-1])

    for none, recall in ((0.45, 0.0), (0.55, 1.0)):
        found = measures(Probabilities(labels, torch.tensor([none])), right, SIGMOID)
        assert found.none_recall == recall


def test_without_images_of_no_label_there_is_no_recall_of_them():
    chances = Probabilities(torch.tensor([[0.7, 0.2]]), torch.tensor([0.1]))

    found = measures(chances, torch.tensor([0]), SOFTMAX)

    assert (found.none_precision, found.none_recall) == (None, None)


def images(count: int, scale: float) -> tuple[Logits, torch.Tensor]:
    """Logits whose softmax is right as often as it says, times `scale`; labels and no label."""
    generator = torch.Generator().manual_seed(7)
    true = 2 * torch.randn(count, 4, generator=generator)
    right = torch.multinomial(true.softmax(dim=1), 1, generator=generator)[:, 0] - 1
    return Logits(scale * true[:, 1:], scale * true[:, 0]), right


def test_images_that_are_left_out_of_the_fit_are_measured_as_calibrated():
    found, right = images(2000, scale=5)

    checked = cross_validate(found, right, SOFTMAX)

    assert checked.before.calibration_error > 0.2
    assert checked.after.calibration_error < 0.04
    assert checked.thresholds.precision is not None
    assert 0.4 < checked.thresholds.precision < 1


def test_what_is_noise_looks_no_better_than_chance():
    # given: labels that have nothing to do with the logits
    found, _ = images(400, scale=1)
    right = torch.randint(-1, 3, (400,), generator=torch.Generator().manual_seed(3))

    checked = cross_validate(found, right, SOFTMAX)

    # then: thresholds that were fitted to the same images would find more
    assert checked.after.accuracy < 0.35
    assert checked.thresholds.precision is not None
    assert checked.thresholds.precision < 0.4


def test_labels_without_a_threshold_count_neither_as_kept_nor_as_missed():
    found, right = images(200, scale=1)
    right[right == 2] = 1
    right[:3] = 2

    with_rare = cross_validate(found, right, SOFTMAX)

    right[:3] = -1
    without = cross_validate(found, right, SOFTMAX)
    assert with_rare.thresholds.recall == pytest.approx(without.thresholds.recall, abs=0.1)
