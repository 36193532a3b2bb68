"""The cache of label features: what is encoded, how often, and what is kept."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from clip_engine.errors import TextTooLongError
from clip_engine.label_cache import MOST_PROMPTS, LabelFeatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LIMIT_S = 20.0
ONE = ("a photo of a {}.",)


def feature(prompt: str) -> Tensor:
    """A unit vector of 8 numbers that depends on the prompt alone."""
    seed = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4])
    return functional.normalize(
        torch.randn(8, generator=torch.Generator().manual_seed(seed)), dim=0
    )


class Encoder:
    """Encodes prompts and remembers them."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        self.prompts += prompts
        return torch.stack([feature(prompt) for prompt in prompts])


class Held(Encoder):
    """Holds calls with the label "held" until it is let go, and may fail them then."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.let_go, self.own = (threading.Event() for _ in range(3))
        self.fails = False

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        features = super().__call__(prompts)
        if "own" in prompts:
            self.own.set()
        if "held" in prompts:
            self.started.set()
            assert self.let_go.wait(LIMIT_S)
            if self.fails:
                raise TextTooLongError("held is too long")
        return features


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


def test_features_come_in_the_labels_order_and_belong_to_the_filled_prompts(
    encoder: Encoder,
) -> None:
    features = LabelFeatures(encoder).get(["dog", "cat"], ONE)
    assert torch.equal(features[0], functional.normalize(feature("a photo of a dog."), dim=0))
    assert torch.equal(features[1], functional.normalize(feature("a photo of a cat."), dim=0))


def test_several_templates_give_the_mean_made_a_unit_vector_again(encoder: Encoder) -> None:
    [ensemble] = LabelFeatures(encoder).get(["cat"], ("{}", "a {}", "one {}!"))
    mean = (feature("cat") + feature("a cat") + feature("one cat!")) / 3
    assert torch.allclose(ensemble, mean / mean.norm(), atol=1e-7)
    assert ensemble.norm().item() == pytest.approx(1, abs=1e-6)


def test_a_label_is_put_into_its_template_as_it_is(encoder: Encoder) -> None:
    LabelFeatures(encoder).get(["{}", "a {0} b", "\\1"], ("<{}>",))
    assert encoder.prompts == ["<{}>", "<a {0} b>", "<\\1>"]


def test_each_label_is_encoded_once(encoder: Encoder) -> None:
    labels = LabelFeatures(encoder)
    first = labels.get(["a", "b"], ("{}",))
    again = labels.get(["b", "c", "a"], ("{}",))
    assert encoder.prompts == ["a", "b", "c"]
    assert torch.equal(again[[2, 0]], first)


def test_a_label_under_other_templates_is_another_feature(encoder: Encoder) -> None:
    labels = LabelFeatures(encoder)
    templates = [("{}",), ("a {}",), ("{}", "a {}"), ("a {}", "{}")]
    for some in templates:
        labels.get(["cat"], some)
    assert (len(labels), len(encoder.prompts)) == (4, 6)


def test_a_label_that_is_there_twice_is_encoded_once_and_given_twice(encoder: Encoder) -> None:
    features = LabelFeatures(encoder).get(["a", "a"], ("{}",))
    assert encoder.prompts == ["a"]
    assert torch.equal(features[0], features[1])


def test_the_least_recently_used_label_goes_first(encoder: Encoder) -> None:
    # given three places, and "a" used last
    labels = LabelFeatures(encoder, capacity=3)
    labels.get(["a", "b", "c"], ("{}",))
    labels.get(["a"], ("{}",))
    # when a fourth comes
    labels.get(["d"], ("{}",))
    # then "b" has gone
    encoder.prompts.clear()
    labels.get(["a", "c", "d"], ("{}",))
    assert encoder.prompts == []
    labels.get(["b"], ("{}",))
    assert encoder.prompts == ["b"]


def test_more_labels_than_places_are_answered_and_the_bound_holds(encoder: Encoder) -> None:
    labels = LabelFeatures(encoder, capacity=3)
    names = [f"label {index}" for index in range(10)]
    expected = torch.stack([feature(name) for name in names])
    for _ in range(2):
        assert torch.allclose(labels.get(names, ("{}",)), expected, atol=1e-7)
        assert len(labels) == 3


def test_a_kept_label_does_not_keep_its_neighbours_in_memory(encoder: Encoder) -> None:
    labels = LabelFeatures(encoder)
    labels.get([str(index) for index in range(1000)], ("{}",))
    kept = labels._features[(("{}",), "0")]
    assert kept.untyped_storage().nbytes() == 8 * 4


def test_writing_to_an_answer_that_others_hold_too_is_an_error(encoder: Encoder) -> None:
    features = LabelFeatures(encoder).get(["a"], ("{}",))
    with pytest.raises(RuntimeError, match="inference tensor"):
        features.zero_()


def test_eight_threads_that_bring_the_same_new_labels_pay_once() -> None:
    # given an encoder that waits until all eight have asked
    encoder, all_ask = Encoder(), threading.Barrier(8)

    def get(_: int) -> Tensor:
        all_ask.wait(LIMIT_S)
        return labels.get(["a", "b", "c"], ("{}",))

    labels = LabelFeatures(encoder)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(get, range(8)))
    # then
    assert encoder.prompts == ["a", "b", "c"]
    assert all(torch.equal(answer, answers[0]) for answer in answers)


def test_known_labels_are_answered_while_new_ones_are_encoded() -> None:
    # given a known label, and an encoder that is held
    encoder = Held()
    labels = LabelFeatures(encoder)
    labels.get(["known"], ("{}",))
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(labels.get, ["held"], ("{}",))
        assert encoder.started.wait(LIMIT_S)
        # then
        quick = pool.submit(labels.get, ["known"], ("{}",))
        assert quick.result(LIMIT_S).shape == (1, 8)
        assert not slow.done()
        encoder.let_go.set()
        assert slow.result(LIMIT_S).shape == (1, 8)


def test_two_tasks_with_new_labels_are_encoded_at_the_same_time() -> None:
    # given an encoder whose calls wait for each other
    both = threading.Barrier(2)

    def meeting(prompts: Sequence[str]) -> Tensor:
        both.wait(LIMIT_S)
        return torch.stack([feature(prompt) for prompt in prompts])

    labels = LabelFeatures(meeting)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(labels.get, [label], ("{}",)) for label in ("a", "b")]
        assert [ask.result(LIMIT_S).shape for ask in asked] == [(1, 8)] * 2


@pytest.mark.parametrize("fails", [False, True])
def test_what_two_lists_share_is_encoded_once_unless_the_first_fails(
    fails: bool,  # noqa: FBT001  # a case
) -> None:
    # given a list that is being encoded, and another that shares a label with it
    encoder = Held()
    encoder.fails = fails
    labels = LabelFeatures(encoder)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(labels.get, ["held", "both"], ("{}",))
        assert encoder.started.wait(LIMIT_S)
        second = pool.submit(labels.get, ["both", "own"], ("{}",))
        assert encoder.own.wait(LIMIT_S)  # its own label didn't wait
        # when
        encoder.let_go.set()
        # then
        answer = second.result(LIMIT_S)
        assert isinstance(first.exception(LIMIT_S), TextTooLongError if fails else type(None))
    expected = torch.stack([feature("both"), feature("own")])
    assert torch.allclose(answer, expected, atol=1e-6)
    assert encoder.prompts.count("both") == (2 if fails else 1)


def test_labels_that_fail_are_not_kept_and_hold_nobody_up() -> None:
    encoder = Held()
    encoder.fails = True
    encoder.let_go.set()
    labels = LabelFeatures(encoder)
    with pytest.raises(TextTooLongError):
        labels.get(["held", "a"], ("{}",))
    assert len(labels) == 0
    assert labels.get(["a"], ("{}",)).shape == (1, 8)


def test_prompts_are_encoded_a_few_thousand_at_a_time() -> None:
    # given
    sizes: list[int] = []

    def encode(prompts: Sequence[str]) -> Tensor:
        sizes.append(len(prompts))
        return torch.ones(len(prompts), 2)

    # when
    templates = tuple(f"{i} {{}}" for i in range(MOST_PROMPTS // 2))
    features = LabelFeatures(encode).get([str(i) for i in range(5)], templates)
    # then
    assert sizes == [MOST_PROMPTS, MOST_PROMPTS, MOST_PROMPTS // 2]
    assert features.shape == (5, 2)


def test_a_list_that_comes_again_is_the_same_tensor_and_another_order_another_one(
    encoder: Encoder,
) -> None:
    features = LabelFeatures(encoder)
    first = features.get(["cat", "dog"], ONE)
    assert features.get(("cat", "dog"), ONE) is first
    swapped = features.get(["dog", "cat"], ONE)
    assert torch.equal(swapped, first.flip(0))
    assert features.get(["cat", "dog"], ("a {}",)) is not first


def test_lists_take_a_quarter_of_the_capacity_and_the_oldest_goes_first(encoder: Encoder) -> None:
    # given room for four rows in lists
    features = LabelFeatures(encoder, capacity=16)
    lists = [["a", "b"], ["c", "d"], ["a", "c"]]
    first, second = (features.get(labels, ONE) for labels in lists[:2])
    assert features.get(lists[0], ONE) is first
    # when a third list comes
    features.get(lists[2], ONE)
    # then the one that was asked for longest ago is gone
    assert features.get(lists[0], ONE) is first
    assert features.get(lists[1], ONE) is not second
    # and a list that is larger than all the room is the only one that is kept
    large = ["a", "b", "c", "d", "e"]
    kept = features.get(large, ONE)
    assert features.get(large, ONE) is kept
    assert features.get(lists[0], ONE) is not first
    assert features.get(large, ONE) is not kept
    assert sorted(encoder.prompts) == [f"a photo of a {letter}." for letter in "abcde"]


def test_lists_that_were_cached_are_counted_apart_from_others(encoder: Encoder) -> None:
    cache = LabelFeatures(encoder)
    assert cache.find(("dog", "cat"), ONE) is None
    cache.get(["dog", "cat"], ONE)
    cache.get(["dog", "cat"], ONE)
    cache.find(("dog", "cat"), ONE)
    cache.get(["dog", "bird"], ONE)  # one of its labels is new
    assert (cache.hits, cache.misses) == (2, 2)
