"""`check_labels`: what it finds, against the demo model's vocabulary and pictures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from clip_engine.demo.world.captions import WORDINGS
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import COLOURS, SHAPES, Scene
from clip_engine.labels.check import check_labels
from clip_engine.labels.near_synonyms import check_near_synonyms, nearest_before
from clip_engine.loader import load_engine

COLOURED = [f"{colour} {shape}" for colour, shape in itertools.product(COLOURS, SHAPES)]
SYNONYMS = [(colour, other) for colour in COLOURS for other in WORDINGS.get(colour, ())[1:]]
LONG = "very " * 80 + "red circle"


@pytest.fixture(scope="module")
def engine():
    return load_engine("demo")


def kinds(findings):
    return [(finding.index, finding.kind, finding.other) for finding in findings]


@pytest.mark.parametrize("model", [False, True])
@pytest.mark.parametrize(
    ("label", "kind", "suggestion"),
    [
        ("\u200b\u00ad", "blank", "remove it"),
        ("a cat", "wording", "write 'cat'"),
        ("The cat", "wording", "write 'cat'"),
        ("golden_retriever", "wording", "write 'golden retriever'"),
        ("“cat”", "wording", "write 'cat'"),
        ("#sunset", "wording", "write 'sunset', or '# ' for a comment"),
        ("None of these", "wording", "remove it and ask for none_of_these"),
    ],
)
def test_a_label_that_is_no_caption_is_found_with_a_better_one(
    engine, model, label, kind, suggestion
):
    [finding] = check_labels(["red circle", label], engine=engine if model else None)

    assert (finding.index, finding.kind, finding.suggestion) == (1, kind, suggestion)


@pytest.mark.parametrize("label", ["anaconda", "theme park", "rock 'n' roll", "_", "C#", "-", "猫"])
def test_an_ordinary_label_is_not_found(label):
    assert check_labels(["red circle", label]) == []


def test_an_article_is_found_only_where_the_template_has_one():
    assert check_labels(["a cat"], ("a photo of {}.",)) == []
    assert check_labels(["a cat"], ("a photo of a {}.", "{}")) == []
    assert len(check_labels(["a cat"], ("a photo of a {}.", "the {}"))) == 1


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("cat", "cat"),
        ("cat", " Cat"),
        ("ice cream", "ice\u00a0 cream"),
        ("café", "cafe\u0301"),
        ("café", "cafÃ©"),  # UTF-8 that was read as Latin-1
        ("rock & roll", "rock &amp; roll"),
        ("STRASSE", "straße"),
        ("ABC", "\uff21\uff22\uff23"),
    ],
)
def test_a_label_that_looks_like_an_earlier_one_is_a_duplicate(earlier, later):
    assert kinds(check_labels([earlier, "dog", later])) == [(2, "duplicate", 0)]


def test_labels_with_the_same_tokens_are_duplicates(engine):
    labels = ["T-shirt", "cat", "t - shirt"]

    assert check_labels(labels) == []
    assert (2, "duplicate", 0) in kinds(check_labels(labels, engine=engine))


def test_a_label_that_is_too_long_is_found_with_its_tokens_and_the_limit(engine):
    labels = ["red circle", LONG, "blue moon"]

    [finding] = check_labels(labels, ("{}",), engine=engine)
    assert (finding.index, finding.kind) == (1, "too-long")
    assert "has 82 tokens, and the limit is 75" in finding.reason


def test_a_label_that_is_too_long_for_one_of_several_templates_is_found(engine):
    words = "red " * 70
    templates = ("{}", "a photo of a {} somewhere in the night")

    assert check_labels(["blue moon", words], templates[:1], engine=engine) == []
    [finding] = check_labels(["blue moon", words], templates, engine=engine)
    assert (finding.index, finding.kind) == (1, "too-long")


@pytest.mark.parametrize("template", ["a photo of a {}.", "{}"])
def test_of_the_demo_models_words_all_synonyms_are_found_and_nothing_else(engine, template):
    others = [f"{other} circle" for _, other in SYNONYMS]

    findings = check_labels([*COLOURED, *others], (template,), engine=engine)

    assert kinds(findings) == [
        (len(COLOURED) + number, "near-synonym", COLOURED.index(f"{colour} circle"))
        for number, (colour, _) in enumerate(SYNONYMS)
    ]


def test_pictures_share_their_probability_among_the_labels_that_are_found_and_no_others(engine):
    labels = [*(f"{colour} circle" for colour in COLOURS), "violet circle", "turquoise circle"]
    found = {finding.other: finding for finding in check_labels(labels, engine=engine)}
    features = engine.labels.get(labels, ("a photo of a {}.",))
    for index, colour in enumerate(COLOURS):
        scene = Scene("centre", "large", colour, "solid", "circle", "white")
        drawn = [engine.prepare(np.asarray(draw_scene(scene, (128, 128), n))) for n in range(4)]
        logits = engine.model.logit_scale * engine.encode_pixels(drawn) @ features.T
        second = logits.softmax(dim=1).topk(2).values[:, 1]
        if index in found:
            assert (second > found[index].share / 4).all()
        else:
            assert (second < 0.05).all()


@pytest.mark.parametrize("block", [1, 3, 7, 64])
def test_the_nearest_earlier_row_is_that_of_the_whole_matrix(block):
    rows = functional.normalize(torch.randn(20, 6, generator=torch.Generator().manual_seed(1)))
    cosines = (rows @ rows.T).masked_fill(torch.ones(20, 20).triu().bool(), -torch.inf)

    best, where = nearest_before(rows, block)

    torch.testing.assert_close(best, cosines.max(dim=1).values)
    assert where[1:].tolist() == cosines.argmax(dim=1)[1:].tolist()


def test_what_counts_as_near_depends_on_the_models_logit_scale():
    angle = torch.tensor(0.1)  # its cosine is 0.995
    rows = torch.stack([torch.tensor([1.0, 0.0]), torch.stack([angle.cos(), angle.sin()])])

    [finding] = check_near_synonyms(rows, logit_scale=100)
    assert finding.share == pytest.approx(1 / (1 + np.exp(0.4996)), abs=1e-3)
    assert list(check_near_synonyms(rows, logit_scale=1000)) == []


# --- hierarchies ---


def test_of_a_path_the_last_name_is_checked():
    labels = ["animal > golden_retriever", "animal>the cat", "plant > Rose", "plant > fern"]

    assert kinds(check_labels(labels, hierarchical=True)) == [
        (0, "wording", None),
        (1, "wording", None),
    ]


def test_leaves_of_the_same_name_have_the_same_prompt():
    [finding] = check_labels(["animal > bat", "plant > fern", "sport > Bat"], hierarchical=True)

    assert (finding.index, finding.kind, finding.other) == (2, "duplicate", 0)
    assert "the same last name" in finding.reason


@pytest.mark.parametrize("blank", ["animal >  > dog", "> dog", "animal > "])
def test_a_path_with_a_blank_name_is_found(blank):
    found = kinds(check_labels(["animal > cat", blank], hierarchical=True))

    assert (1, "path", None) in found


def test_a_label_may_also_be_a_step_to_others():
    labels = ["animal > dog > beagle", "animal > cat", "animal > dog"]

    assert check_labels(labels, hierarchical=True) == []


def test_a_path_that_is_written_otherwise_is_a_duplicate():
    [finding] = check_labels(["animal > cat", "Animal>cat"], hierarchical=True)

    assert (finding.index, finding.kind, finding.other) == (1, "duplicate", 0)
    assert finding.reason.startswith("differs only in case")
