"""Texts as a tree of beginnings: its nodes, and that the features are the plain path's."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from support.tiny_clip import TINY_VIT, tiny_state, tokenizer

from clip_engine.acceleration import Acceleration, accelerate
from clip_engine.acceleration.shared_prefixes import PrefixTree, encode_text
from clip_engine.model import CLIP, Activation, build_model
from clip_engine.prompts import ensemble, fill

END = 9


def model(options: Acceleration | None = None, activation: Activation = "quick_gelu") -> CLIP:
    config = dataclasses.replace(TINY_VIT, activation=activation)
    clip = build_model(tiny_state(config))
    if options is not None:
        accelerate(clip, options, "float32")
    return clip


# --- the tree ---


def test_texts_that_begin_alike_share_their_nodes() -> None:
    # given start a cat end, start a dog end, start the cat end
    tree = PrefixTree.of(torch.tensor([[1, 2, 3, 9], [1, 2, 4, 9], [1, 5, 3, 9]]))
    # then start is there once, a once, the end three times, and cat twice: after a, and after the
    assert sorted(tree.tokens.tolist()) == [1, 2, 3, 3, 4, 5, 9, 9, 9]
    assert len(set(tree.ends.tolist())) == 3


def test_each_text_can_be_read_off_its_nodes() -> None:
    # given random texts over three words, so that they share much
    draw = random.Random(0)
    texts = [[1, *draw.choices([2, 3, 4], k=draw.randint(0, 8)), END] for _ in range(200)]
    tokens = torch.zeros(len(texts), 10, dtype=torch.int64)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    # when
    tree = PrefixTree.of(tokens)
    # then
    for text, row, end in zip(texts, tree.rows, tree.ends, strict=True):
        nodes = row[: len(text)]
        assert tree.tokens[nodes].tolist() == text
        assert tree.depths[nodes].tolist() == list(range(len(text)))
        assert nodes[-1] == end
    # and there is a node for each different beginning and no more
    beginnings = {tuple(text[: i + 1]) for text in texts for i in range(len(text))}
    assert len(tree.tokens) == len(beginnings)
    # and each node stands where `places` says
    assert torch.equal(tree.rows.flatten()[tree.places], torch.arange(len(tree.tokens)))


def test_a_text_that_is_there_twice_is_one() -> None:
    tree = PrefixTree.of(torch.tensor([[1, 2, 9, 0], [1, 2, 9, 0]]))
    assert tree.tokens.tolist() == [1, 2, 9]
    assert tree.ends.tolist() == [2, 2]


# --- features ---


@pytest.mark.parametrize("options", [None, Acceleration()], ids=["plain", "accelerated"])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_features_are_those_of_the_whole_context(
    options: Acceleration | None, activation: Activation
) -> None:
    # given the labels of a taxonomy in all templates of an ensemble, long ones and short ones
    labels = ["cat", "dog", "red panda", "cat", "a very old tree by the sea", "x" * 30, "é €"]
    prompts = [fill(template, label) for template in ensemble("imagenet") for label in labels]
    tokens = tokenizer().tokenize(prompts)
    clip = model(options, activation)
    # when
    with torch.inference_mode():
        plain, shared = clip.encode_text(tokens, trim=False), encode_text(clip, tokens)
    # then
    assert torch.allclose(shared, plain, atol=1e-5, rtol=1e-5)
    assert (plain[0] - plain[1]).abs().max() > 1e-2


def test_the_longest_text_and_a_single_one_are_computed() -> None:
    full = tokenizer().tokenize(["cat " * 75])
    assert int(full.argmax()) == 76
    clip = model()
    with torch.inference_mode():
        assert torch.allclose(encode_text(clip, full), clip.encode_text(full), atol=1e-5)
