"""Fits a temperature, the bias of "none of these" and thresholds to labelled images.

A model's probabilities are seldom as often right as they say. Dividing all logits by one number,
the temperature, mends most of that and changes no order (Guo et al. 2017, arXiv:1706.04599). With
images that no label fits, and for the sigmoid (Platt 1999), the bias of "none of these" is fitted
together with it. Both are found by maximum likelihood. The loss is convex in the temperature's
inverse and in the bias, so Newton's method finds the only minimum; a weak prior, of about one
image's weight, keeps it finite where few images or none contradict the model.

Axes: N images, L labels, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.errors import InputError
from clip_engine.scoring.logits import Logits, probabilities
from clip_engine.scoring.options import Scoring

NONE = -1  # in place of the right label's index: no label fits
FEWEST_IMAGES = 10  # with a label, for a threshold of its own
BIAS_DEVIATION = 5.0  # of the bias's prior, a normal distribution around 0
MOST_STEPS = 100  # Newton's method takes about ten
PRECISION = 1e-12  # of the loss
Prior: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]  # value, slope, curvature


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted.

    Attributes:
        temperature: Logits are divided by it.
        none_bias: Added to the logit of "none of these"; for `sigmoid` subtracted from each
            label's. 0 where no image without a right label was given, except for `sigmoid`.
        thresholds: For each label the least score with which it is best kept, on the score's own
            scale; None for one with fewer than 10 images, or with every image.
        rows: How many images there were.
    """

    temperature: float
    none_bias: float
    thresholds: tuple[float | None, ...]
    rows: int


def fit(
    found: Logits, right: Tensor, scoring: Scoring, scores: Tensor | None = None
) -> Calibration:
    """Fit a calibration.

    Args:
        found: Logits of N images for `scoring`, from `Engine.logits`. With those of "none of
            these", the thresholds are for requests that ask for it.
        right: int64 `[N]`, the index of each image's right label, or -1 if no label fits.
        scoring: Its score. For `cosine` and `logit` the softmax is calibrated.
        scores: The cosines or logits `[N, L]`, for thresholds on that scale.

    Raises:
        InputError: The logits are NaN or infinite, an index is out of range, the numbers of rows
            differ, or no image has a right label.
    """
    labels, right = found.labels.double(), right.long()
    _check(labels, right)
    none = None if found.none is None else found.none.double()
    truth = functional.one_hot(right + 1, labels.shape[1] + 1)[:, 1:].double()  # [N, L]
    if scoring.score == "sigmoid":
        inverse, bias = _sigmoid(labels, truth)
    else:
        inverse, bias = _softmax(labels, none, right)
    fitted = Scoring(scoring.score, found.none is not None, 1 / inverse, bias)
    kept_by = probabilities(Logits(labels, none), fitted).labels if scores is None else scores
    thresholds = tuple(
        threshold(kept_by[:, label], truth[:, label].bool()) for label in range(labels.shape[1])
    )
    return Calibration(fitted.temperature, fitted.none_bias, thresholds, len(right))


def threshold(scores: Tensor, right: Tensor) -> float | None:
    """The threshold with the best F1: midway between two scores, the highest of equally good ones.

    Args:
        scores: Of one label, `[N]`.
        right: Whether it fits, bool `[N]`.

    Returns:
        None if it fits fewer than 10 images, or all.
    """
    fitting = int(right.sum())
    if fitting < FEWEST_IMAGES or fitting == len(right):
        return None
    ordered, order = scores.double().sort(descending=True, stable=True)
    kept = torch.arange(1, len(ordered) + 1)
    f1 = 2 * right[order].cumsum(0) / (kept + fitting)
    f1[:-1][ordered[:-1] == ordered[1:]] = -1  # no threshold parts equal scores
    best = int(f1.argmax())
    return float(ordered[best : best + 2].mean())


def _softmax(labels: Tensor, none: Tensor | None, right: Tensor) -> tuple[float, float]:
    """The temperature's inverse and the bias; the latter is 0 without images that have no label."""
    if none is None or not (right == NONE).any():
        some = right != NONE
        features = labels[some][:, :, None]  # [N, L, 1]
        return float(_minimum(_loss(features, right[some]), _start(1.0), _scale_prior)), 0.0
    logits = torch.cat([none[:, None], labels], dim=1)  # [N, 1 + L]
    biased = torch.zeros_like(logits)
    biased[:, 0] = 1
    loss = _loss(torch.stack([logits, biased], dim=2), right + 1)
    inverse, bias = _minimum(loss, _start(1.0, 0.0), _scale_prior, _bias_prior).tolist()
    return inverse, bias


def _sigmoid(labels: Tensor, truth: Tensor) -> tuple[float, float]:
    """The temperature's inverse and the bias, over all pairs of image and label."""
    odds = labels.flatten()
    features = torch.zeros(len(odds), 2, 2, dtype=torch.float64)  # wrong and right; scale and bias
    features[:, 1, 0], features[:, 0, 1] = odds, 1
    loss = _loss(features, truth.flatten().long())
    inverse, bias = _minimum(loss, _start(1.0, 0.0), _scale_prior, _bias_prior).tolist()
    return inverse, bias


class Loss(NamedTuple):
    """A convex function at a point: its value, gradient `[n]` and matrix of curvatures `[n, n]`."""

    value: Tensor
    gradient: Tensor
    curvature: Tensor


def _loss(features: Tensor, right: Tensor) -> Callable[[Tensor], Loss]:
    """The negative log-likelihood of a softmax over classes whose logits are linear.

    Args:
        features: `[N, C, n]`; their products with the n parameters are the logits of C classes.
        right: The right class of each row, int64 `[N]`.
    """
    of_right = features[torch.arange(len(right)), right]  # [N, n]
    flat = features.flatten(0, 1)  # [N C, n]

    def loss(x: Tensor) -> Loss:
        logits = features @ x  # [N, C]
        weighted = features * logits.softmax(dim=1)[:, :, None]
        means = weighted.sum(dim=1)  # [N, n]
        return Loss(
            functional.cross_entropy(logits, right, reduction="sum"),
            (means - of_right).sum(dim=0),
            weighted.flatten(0, 1).T @ flat - means.T @ means,
        )

    return loss


def _scale_prior(inverse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A gamma distribution's: least at 1, and infinite at 0 and infinity; with its derivatives."""
    return inverse - inverse.log(), 1 - 1 / inverse, 1 / inverse.square()


def _bias_prior(bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    variance = BIAS_DEVIATION**2
    return bias.square() / (2 * variance), bias / variance, torch.ones_like(bias) / variance


def _minimum(loss: Callable[[Tensor], Loss], start: Tensor, *priors: Prior) -> Tensor:
    """Where a convex loss plus one prior a coordinate is least: Newton's method, halving steps."""

    def at(x: Tensor) -> Loss:
        found = loss(x)
        of_priors = [prior(value) for prior, value in zip(priors, x, strict=True)]
        values, slopes, curvatures = (torch.stack(each) for each in zip(*of_priors, strict=True))
        return Loss(
            found.value + values.sum(),
            found.gradient + slopes,
            found.curvature + curvatures.diag(),
        )

    x, here = start, at(start)
    for _ in range(MOST_STEPS):
        step = torch.linalg.solve(here.curvature, here.gradient)
        gain = float(here.gradient @ step)  # twice what the step gains, if the loss is a parabola
        while gain > PRECISION * (1 + float(here.value)):
            there = at(x - step)
            if there.value < here.value - gain / 10:  # not if a prior's logarithm gave NaN
                break
            step, gain = step / 2, gain / 2
        else:
            return x
        x, here = x - step, there
    return x


def _start(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _check(labels: Tensor, right: Tensor) -> None:
    if len(labels) != len(right):
        raise InputError(f"There are {len(labels)} images and {len(right)} right labels.")
    if not labels.isfinite().all():
        raise InputError("The logits contain NaN or infinity; check the model and its input.")
    if not bool(((right >= NONE) & (right < labels.shape[1])).all()):
        raise InputError(
            f"The right labels are from {int(right.min())} to {int(right.max())}; give indices "
            f"below {labels.shape[1]}, or {NONE} if no label fits."
        )
    if not bool((right != NONE).any()):
        raise InputError("No image has a right label; give at least one that has.")
