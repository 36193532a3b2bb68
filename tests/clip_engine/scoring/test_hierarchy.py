"""Hierarchies of labels: what paths mean, and sums by a loop."""

from __future__ import annotations

import random

import pytest
import torch
from support.tiny_clip import tiny_engine

from clip_engine.errors import InputError
from clip_engine.scoring.hierarchy import LabelTree
from clip_engine.scoring.options import Scoring
from clip_engine.scoring.text_features import TextFeatures

PATHS = ("animal > dog > beagle", "car", "animal>cat", "animal > dog>poodle", "animal > dog")


def test_levels_are_in_order_of_first_appearance_and_prompts_get_the_last_part() -> None:
    tree = LabelTree.of(PATHS)
    assert tree.leaves == ("beagle", "car", "cat", "poodle", "dog")
    assert tree.levels == (
        ("animal", "car"),
        ("animal > dog", "animal > cat"),
        ("animal > dog > beagle", "animal > dog > poodle"),
    )


def test_sums_by_hand_where_a_label_stands_above_others() -> None:
    # given the probabilities of beagle, car, cat, poodle and dog
    given = torch.tensor([[0.125, 0.25, 0.0625, 0.0625, 0.5]])
    levels = LabelTree.of(PATHS).sums(given)
    assert [level.tolist() for level in levels] == [
        [[0.75, 0.25]],
        [[0.6875, 0.0625]],
        [[0.125, 0.0625]],
    ]
    largest = LabelTree.of(PATHS).largest(given)
    assert [level.tolist() for level in largest] == [
        [[0.5, 0.25]],
        [[0.5, 0.0625]],
        [[0.125, 0.0625]],
    ]


@pytest.mark.parametrize("seed", range(20))
def test_levels_are_what_a_loop_finds(seed: int) -> None:
    # given a random tree, and an image's probabilities
    rng = random.Random(seed)
    drawn = [
        " > ".join(rng.choice("abcde") for _ in range(rng.randint(1, 4)))
        for _ in range(rng.randint(1, 60))
    ]
    paths = tuple(dict.fromkeys(drawn))
    features = torch.nn.functional.normalize(
        torch.randn(len(paths) + 2, 8, generator=torch.Generator().manual_seed(seed)), dim=1
    )
    texts, images = TextFeatures(features[2:], features[2:] * -1, features[:1]), features[:2]
    k = rng.randint(1, 4)
    for scoring, combine in ((Scoring(), sum), (Scoring("sigmoid"), max)):
        # when
        ranked = tiny_engine().rank(images, texts, len(paths), scoring)
        short = tiny_engine().rank(images, texts, k, scoring, LabelTree.of(paths))
        # then
        assert short.levels is not None
        for row, levels in enumerate(short.levels):
            of_leaf = dict(zip(ranked.indices[row], ranked.probabilities[row], strict=True))
            for depth, level in enumerate(levels, start=1):
                below: dict[str, list[float]] = {}
                for index, path in enumerate(paths):
                    parts = path.split(" > ")
                    if len(parts) >= depth:
                        below.setdefault(" > ".join(parts[:depth]), []).append(of_leaf[index])
                masses = [combine(values) for values in below.values()]
                assert LabelTree.of(paths).levels[depth - 1] == tuple(below)
                order = sorted(range(len(masses)), key=lambda node: -masses[node])[:k]
                assert level.probabilities == pytest.approx([masses[n] for n in order], abs=1e-6)
                assert all(
                    masses[n] == pytest.approx(p, abs=1e-6)
                    for n, p in zip(level.indices, level.probabilities, strict=True)
                )


def test_nodes_that_are_equally_probable_come_by_index() -> None:
    texts = TextFeatures(torch.tensor([[1.0, 0.0]] * 4))
    tree = LabelTree.of(("d > x", "c > x", "b > x", "a > x"))
    ranked = tiny_engine().rank(torch.tensor([[0.6, 0.8]]), texts, 3, tree=tree)
    assert ranked.levels is not None
    assert [level.indices for level in ranked.levels[0]] == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ((), "There are no labels"),
        (("a > ", "b"), "'a > ' has a blank part; give a path such as"),
        (("a >> b",), "'a >> b' has a blank part"),
        (("a > b", "a>b"), "'a > b' is repeated; give each label once"),
    ],
)
def test_wrong_paths_are_refused(paths: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelTree.of(paths)
