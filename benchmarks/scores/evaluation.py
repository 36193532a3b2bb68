"""Measures softmax, "none of these" and sigmoid; figures as JSON can hold them.

Axes: B pictures, L labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.scores.measures import Detection, auc
from benchmarks.scores.pictures import (
    COLOURED_SHAPES,
    Pictures,
    attribute_labels,
    attributes_shown,
    label_splits,
    logits_of,
    right_labels,
)
from clip_engine.engine import Engine
from clip_engine.scoring.calibration import NONE, Calibration, fit, threshold
from clip_engine.scoring.calibration_error import expected_calibration_error, reliability
from clip_engine.scoring.logits import Logits, Probabilities, probabilities
from clip_engine.scoring.options import Scoring

FEW_ROWS = (50, 100, 200, 500)
DRAWS = 20  # of so few rows
FIT, MEASURE = slice(0, None, 2), slice(1, None, 2)


def evaluate(engine: Engine, pictures: dict[str, Pictures]) -> dict[str, Any]:
    """All figures of all kinds of pictures."""
    parts: dict[str, Callable[[Engine, Pictures], Any]] = {
        "softmax": softmax,
        "none_of_these": none_of_these,
        "sigmoid": sigmoid,
    }
    return {
        name: {kind: measure(engine, given) for kind, given in pictures.items()}
        for name, measure in parts.items()
    }


def softmax(engine: Engine, pictures: Pictures) -> dict[str, Any]:
    """64 coloured shapes, one of which is right: how sure the best one is, and how often right."""
    scoring = Scoring()
    right = right_labels(pictures.scenes, COLOURED_SHAPES)
    found = logits_of(engine, pictures.features, COLOURED_SHAPES, scoring)
    calibration = fit(rows(found, FIT), right[FIT], scoring)
    measured, truth = rows(found, MEASURE), right[MEASURE]
    return {
        "pictures": len(truth),
        "temperature": calibration.temperature,
        "before": _sureness(measured, truth, scoring),
        "after": _sureness(measured, truth, calibrated(scoring, calibration)),
        "few": {str(number): _few(found, right, scoring, number) for number in FEW_ROWS},
    }


def _sureness(found: Logits, right: Tensor, scoring: Scoring) -> dict[str, Any]:
    chances = probabilities(found, scoring).labels
    best, index = chances.max(dim=1)
    hits = index == right
    return {
        "top1": float(hits.double().mean()),
        "probability": float(best.double().mean()),
        "ece": expected_calibration_error(best, hits),
        "nll": float(functional.nll_loss(chances.double().log(), right)),
        "reliability": [each.tolist() for each in reliability(best, hits)],
    }


def _few(found: Logits, right: Tensor, scoring: Scoring, number: int) -> dict[str, float]:
    """The error on the measured half with a temperature of so few rows; median and worst."""
    fitted, generator = rows(found, FIT), torch.Generator().manual_seed(number)
    errors = []
    for _ in range(DRAWS):
        some = torch.randperm(len(fitted.labels), generator=generator)[:number]
        calibration = fit(rows(fitted, some), right[FIT][some], scoring)
        chances = probabilities(rows(found, MEASURE), calibrated(scoring, calibration)).labels
        best, index = chances.max(dim=1)
        errors.append(expected_calibration_error(best, index == right[MEASURE]))
    return {"median": median(errors), "worst": max(errors)}


def none_of_these(engine: Engine, pictures: Pictures) -> dict[str, Any]:
    """32 coloured shapes; about half of the pictures show another shape. Each is left out once."""
    chances: dict[str, list[Tensor]] = {}
    absent = []
    for labels in label_splits():
        right = right_labels(pictures.scenes, labels)
        absent.append(right[MEASURE] == NONE)
        for name, of_none in _none_rules(engine, pictures, labels, right).items():
            chances.setdefault(name, []).append(of_none)
    truth = torch.cat(absent)
    return {
        "pictures": len(truth),
        "without_right_label": int(truth.sum()),
        "rules": {name: _detected(torch.cat(each), truth) for name, each in chances.items()},
    }


def _detected(chances: Tensor, truth: Tensor) -> dict[str, Any]:
    found = asdict(Detection.of(chances, truth))
    return found | {"ece": expected_calibration_error(chances, truth)}


def _none_rules(
    engine: Engine, pictures: Pictures, labels: list[str], right: Tensor
) -> dict[str, Tensor]:
    """What each rule says of the measured half, `[B]` each."""
    plain = probabilities(logits_of(engine, pictures.features, labels, Scoring()), Scoring())
    rules = {"1 - largest softmax": 1 - plain.labels[MEASURE].max(dim=1).values}
    for score in ("softmax", "sigmoid"):
        scoring = Scoring(score, none_of_these=True)
        found = logits_of(engine, pictures.features, labels, scoring)
        calibration = fit(rows(found, FIT), right[FIT], scoring)
        for name, asked in (
            (score, scoring),
            (f"{score}, calibrated", calibrated(scoring, calibration)),
        ):
            rules[name] = _of_none(probabilities(rows(found, MEASURE), asked))
    return rules


def _of_none(chances: Probabilities) -> Tensor:
    assert chances.none is not None
    return chances.none


def sigmoid(engine: Engine, pictures: Pictures) -> dict[str, Any]:
    """29 labels, five of which are true of each picture: each one by itself."""
    labels, truth = attribute_labels(), attributes_shown(pictures.scenes)
    found = logits_of(engine, pictures.features, labels, Scoring("sigmoid"))
    chances = probabilities(found, Scoring("sigmoid")).labels
    plain = probabilities(logits_of(engine, pictures.features, labels, Scoring()), Scoring())
    rules = {"sigmoid": chances[MEASURE], "softmax": plain.labels[MEASURE]}
    measured = truth[MEASURE]
    of_rules = {name: _multi_label(each, measured) for name, each in rules.items()}
    of_rules["sigmoid, thresholds"] = _with_thresholds(chances, truth)
    return {
        "pictures": len(measured),
        "labels": len(labels),
        "rules": of_rules,
        "single": _single_label(engine, pictures),
    }


def _multi_label(chances: Tensor, truth: Tensor) -> dict[str, Any]:
    """All pairs of picture and label together, and the AUC as the mean over labels."""
    found = _detected(chances.flatten(), truth.flatten())
    columns = zip(chances.T, truth.T, strict=True)
    return found | {"auc": sum(auc(*column) for column in columns) / chances.shape[1]}


def _with_thresholds(chances: Tensor, truth: Tensor) -> dict[str, Any]:
    """Each label is kept by a threshold of its own, from the half that fits."""
    least = [threshold(*each) for each in zip(chances[FIT].T, truth[FIT].T, strict=True)]
    kept = chances[MEASURE] >= torch.tensor([0.5 if t is None else t for t in least])
    hits = int((kept & truth[MEASURE]).sum())
    return {"precision": hits / int(kept.sum()), "recall": hits / int(truth[MEASURE].sum())}


def _single_label(engine: Engine, pictures: Pictures) -> dict[str, Any]:
    """64 coloured shapes, each by itself: stated probabilities against how often they are true."""
    scoring = Scoring("sigmoid")
    right = right_labels(pictures.scenes, COLOURED_SHAPES)
    found = logits_of(engine, pictures.features, COLOURED_SHAPES, scoring)
    calibration = fit(rows(found, FIT), right[FIT], scoring)
    truth = functional.one_hot(right[MEASURE], len(COLOURED_SHAPES)).bool().flatten()
    figures: dict[str, Any] = {
        "temperature": calibration.temperature,
        "bias": calibration.none_bias,
    }
    for name, asked in (("before", scoring), ("after", calibrated(scoring, calibration))):
        chances = probabilities(rows(found, MEASURE), asked).labels.flatten()
        figures[name] = _detected(chances, truth) | {
            "reliability": [each.tolist() for each in reliability(chances, truth)]
        }
    return figures


def rows(found: Logits, which: slice | Tensor) -> Logits:
    """The logits of some of the pictures."""
    return Logits(found.labels[which], None if found.none is None else found.none[which])


def calibrated(scoring: Scoring, calibration: Calibration) -> Scoring:
    """The same score with what was fitted."""
    return replace(scoring, temperature=calibration.temperature, none_bias=calibration.none_bias)
