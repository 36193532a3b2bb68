"""Scores of labels: by hand, by the formulas of open_clip and torch, and bit by bit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.image_zoo import photo
from support.tiny_clip import tiny_engine
from torch.nn import functional

from clip_engine.errors import InputError
from clip_engine.scoring.hierarchy import LabelTree
from clip_engine.scoring.options import SCORES, Scoring
from clip_engine.scoring.text_features import TextFeatures

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine

D = 32
SCALE = 20.0
LABELS = ("cat", "dog", "tree")


def unit(rows: int, seed: int) -> Tensor:
    noise = torch.randn(rows, D, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(noise, dim=1)


@pytest.fixture(params=["softmax", "sigmoid"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Of a model that was trained with one of the two losses."""
    engine = tiny_engine()
    model: Any = engine.model
    model.trained_with, model.logit_scale = request.param, SCALE
    model.logit_bias = -12.0 if request.param == "sigmoid" else 0.0
    return engine


@pytest.fixture
def clip() -> Engine:
    """Of a model that was trained with softmax."""
    engine = tiny_engine()
    engine.model.logit_scale = SCALE
    return engine


def text(labels: int = 40) -> TextFeatures:
    return TextFeatures(unit(labels, 1), unit(labels, 2), unit(8, 3))


# --- formulas, in the words of torch and float64 ---


def scaled_cosines(images: Tensor, texts: Tensor) -> Tensor:
    return SCALE * images.double() @ texts.double().T


def expected(engine: Engine, images: Tensor, text: TextFeatures, scoring: Scoring) -> Any:
    """Probabilities of all labels in their order, and of none."""
    assert text.negations is not None
    assert text.background is not None
    labels = scaled_cosines(images, text.labels)
    none = scaled_cosines(images, functional.normalize(text.background.mean(0, keepdim=True)))[:, 0]
    t, bias = scoring.temperature, scoring.none_bias
    if scoring.score == "sigmoid":
        if engine.model.trained_with == "sigmoid":
            odds = labels + engine.model.logit_bias
        else:
            against = scaled_cosines(images, text.negations).exp() + none.exp()[:, None]
            odds = labels - against.log()
        each = 1 / (1 + (-(odds / t - bias)).exp())
        return each, (1 - each).prod(dim=1)
    masses = (labels / t).exp()
    of_none = (none / t + bias).exp() if scoring.none_of_these else torch.zeros(len(images))
    total = masses.sum(dim=1) + of_none
    return masses / total[:, None], of_none / total


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("none", [(False,), (True,)])
@pytest.mark.parametrize("calibration", [(1.0, 0.0), (2.5, -1.5)])
def test_probabilities_are_those_of_the_formulas(
    engine: Engine, score: Any, none: tuple[bool], calibration: tuple[float, float]
) -> None:
    scoring = Scoring(score, *none, *calibration)
    images, texts = unit(6, seed=4), text()
    ranked = engine.rank(images, texts, 40, scoring)
    probabilities, of_none = expected(engine, images, texts, scoring)
    for row, indices in enumerate(ranked.indices):
        assert sorted(indices) == list(range(40))
        wanted = probabilities[row, indices].tolist()
        assert ranked.probabilities[row] == pytest.approx(wanted, abs=2e-6)
        if ranked.scores is None:
            assert ranked.probabilities[row] == sorted(ranked.probabilities[row], reverse=True)
    assert (ranked.none_of_these is not None) == scoring.none_of_these
    if ranked.none_of_these is not None:
        assert ranked.none_of_these == pytest.approx(of_none.tolist(), abs=2e-6)


@pytest.mark.parametrize("score", ["cosine", "logit"])
def test_cosines_and_logits_are_the_models_own_whatever_a_calibration_says(
    engine: Engine, score: Any
) -> None:
    images, texts = unit(5, seed=4), text()
    ranked = engine.rank(images, texts, 7, Scoring(score, temperature=3.0, none_bias=2.0))
    cosines = images.double() @ texts.labels.double().T
    wanted = cosines if score == "cosine" else SCALE * cosines + engine.model.logit_bias
    values, indices = wanted.topk(7, dim=1)
    assert ranked.indices == indices.tolist()
    assert ranked.scores is not None
    for ours, theirs in zip(ranked.scores, values.tolist(), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_siglips_sigmoid_is_open_clips() -> None:
    # given open_clip's own loss, whose logits for a batch of pairs are scale * image @ text + bias
    loss = pytest.importorskip("open_clip.loss").SigLipLoss()
    engine, images, labels = tiny_engine(), unit(4, seed=5), unit(9, seed=6)
    model: Any = engine.model
    model.trained_with, model.logit_scale, model.logit_bias = "sigmoid", 117.3, -12.9
    theirs = loss.get_logits(images, labels, torch.tensor(117.3), torch.tensor(-12.9)).sigmoid()
    ranked = engine.rank(images, TextFeatures(labels), 9, Scoring("sigmoid"))
    for row, (indices, values) in enumerate(zip(ranked.indices, ranked.probabilities, strict=True)):
        assert values == pytest.approx(theirs[row, indices].tolist(), abs=1e-6)


def test_none_of_these_by_hand(clip: Engine) -> None:
    # given cosines 0.8 and 0.6 with two labels, and 0.8 with the direction that is the mean of two
    # background prompts, at scale 20
    image = torch.tensor([[0.8, 0.6]])
    labels, background = torch.eye(2), torch.tensor([[0.6, 0.8], [0.6, -0.8]])
    texts = TextFeatures(labels, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), background)
    # then exp(16), exp(12) and exp(16) share the mass: 1, 0.0183 and 1 of 2.0183
    ranked = clip.rank(image, texts, 2, Scoring(none_of_these=True))
    assert ranked.probabilities == [pytest.approx([0.49546, 0.00907], abs=1e-5)]
    assert ranked.none_of_these == pytest.approx([0.49546], abs=1e-5)
    # and each label alone: 1 of 1 + 0.0183 + 1; 0.0183 of 0.0183 + 1 + 1
    ranked = clip.rank(image, texts, 2, Scoring("sigmoid", none_of_these=True))
    assert ranked.probabilities == [pytest.approx([0.49546, 0.00907], abs=1e-5)]
    assert ranked.none_of_these == pytest.approx([0.50454 * 0.99093], abs=1e-5)


# --- properties ---


@pytest.mark.parametrize("labels", [1, 3, 700, 2500])
@pytest.mark.parametrize("score", SCORES)
def test_no_image_changes_a_bit_of_another(engine: Engine, score: Any, labels: int) -> None:
    images, texts = unit(33, seed=7), text(labels)
    scoring = Scoring(score, none_of_these=True, temperature=1.7, none_bias=0.3)
    tree = LabelTree.of(tuple(f"{i % 7} > {i % 13} > {i}" for i in range(labels)))
    together = engine.rank(images, texts, 5, scoring, tree)
    for row in range(len(images)):
        alone = engine.rank(images[row : row + 1], texts, 5, scoring, tree)
        for ours, all_of_them in zip(alone, together, strict=True):
            assert ours is None or ours[0] == all_of_them[row]


def test_labels_and_none_of_these_sum_to_one(clip: Engine) -> None:
    ranked = clip.rank(unit(5, seed=8), text(), 40, Scoring(none_of_these=True))
    assert ranked.none_of_these is not None
    for values, none in zip(ranked.probabilities, ranked.none_of_these, strict=True):
        assert sum(values) + none == pytest.approx(1, abs=1e-5)


def test_labels_that_score_alike_come_by_index(engine: Engine) -> None:
    texts = text(6)
    alike = replace(texts, labels=unit(1, 9).expand(6, D), negations=unit(1, 9).expand(6, D))
    for score in SCORES:
        assert engine.rank(unit(1, 4), alike, 4, Scoring(score)).indices == [[0, 1, 2, 3]]


def test_a_score_without_the_features_that_it_needs_is_refused(clip: Engine) -> None:
    texts = TextFeatures(unit(3, seed=1))
    for scoring in (Scoring("sigmoid"), Scoring("cosine", none_of_these=True)):
        with pytest.raises(InputError, match="needs more text features"):
            clip.rank(unit(1, seed=0), texts, 1, scoring)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "softmaxx"}, "Unknown score 'softmaxx'; give one of softmax, sigmoid, cosine"),
        ({"temperature": 0.0}, "Invalid temperature 0.0; give a finite number above 0."),
        ({"temperature": math.nan}, "Invalid temperature nan"),
        ({"none_bias": math.inf}, "Invalid none_bias inf; give a finite number."),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scoring(**options)


# --- what each score needs, and the engine's short way ---


def test_only_what_a_score_needs_is_encoded(engine: Engine) -> None:
    templates = ("a photo of a {}.", "{}")
    own = (LABELS, templates)
    words = ("thing", "object", "scene", "place", "background", "texture", "pattern", "picture")
    background = (words, templates)
    against = ("a photo of something other than a {}.", "something other than {}")
    is_clip = engine.model.trained_with == "softmax"
    wanted = {
        Scoring(): (own,),
        Scoring("cosine"): (own,),
        Scoring("logit", none_of_these=True): (own, background),
        Scoring("sigmoid"): (own, (LABELS, against), background) if is_clip else (own,),
    }
    for scoring, lists in wanted.items():
        assert engine.text_lists(LABELS, templates, scoring) == lists


def test_a_background_word_that_is_a_label_is_no_background(clip: Engine) -> None:
    lists = clip.text_lists((" Thing", "scene", "car"), ("{}",), Scoring(none_of_these=True))
    assert lists[1][0] == ("object", "place", "background", "texture", "pattern", "picture")


@pytest.mark.parametrize("score", SCORES)
def test_no_images_give_no_answers(engine: Engine, score: Any) -> None:
    assert engine.classify([], LABELS, score=score, none_of_these=True) == []


@pytest.mark.parametrize("score", SCORES)
def test_classify_gives_scores_and_none_of_these_at_the_end(engine: Engine, score: Any) -> None:
    images = [photo((60, 50), seed=1), photo((50, 60), seed=2)]
    scoring = Scoring(score, none_of_these=True)
    lists = engine.text_lists(LABELS, ("a photo of a {}.",), scoring)
    texts = engine.text_features([engine.labels.get(*each) for each in lists])
    features = engine.encode_pixels([engine.prepare(image) for image in images])
    ranked = engine.rank(features, texts, 2, scoring)
    answers = engine.classify(images, LABELS, k=2, score=score, none_of_these=True)
    for row, (*labels, none) in enumerate(answers):
        assert [p.index for p in labels] == ranked.indices[row]
        assert [p.label for p in labels] == [LABELS[p.index] for p in labels]
        assert [p.probability for p in labels] == ranked.probabilities[row]
        scores = ranked.scores[row] if ranked.scores else [None, None]
        assert [p.score for p in labels] == scores
        assert ranked.none_of_these is not None
        assert (none.label, none.index) == ("none of these", -1)
        assert none.probability == ranked.none_of_these[row]
