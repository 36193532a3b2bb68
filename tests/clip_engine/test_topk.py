"""Top-K for every kind of array, against a brute-force sort."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from clip_engine.errors import InputError
from clip_engine.topk import TopK, top_k

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "uint8", "int16", "int32", "int64")


@dataclass
class OnlyArray:
    """Offers `__array__` and nothing else, as pandas and TensorFlow do."""

    array: np.ndarray[Any, Any]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.array


@dataclass
class OnlyDLPack:
    """Offers DLPack and nothing else."""

    tensor: torch.Tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()


class RefusingArray(OnlyDLPack):
    """Offers DLPack, and an `__array__` that refuses, as CuPy's does."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")


KINDS: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "numpy": lambda scores: scores,
    "torch": torch.from_numpy,
    "list": lambda scores: scores.tolist(),
    "tuple": lambda scores: tuple(scores.tolist()),
    "__array__": OnlyArray,
    "__dlpack__": lambda scores: OnlyDLPack(torch.from_numpy(scores)),
    "CuPy-like": lambda scores: RefusingArray(torch.from_numpy(scores)),
}


def by_hand(row: Sequence[float], k: int) -> tuple[list[float], list[int]]:
    """Sort all positions by falling score, then by rising position."""
    order = sorted(range(len(row)), key=lambda index: (-row[index], index))[:k]
    return [row[index] for index in order], order


def as_lists(result: TopK) -> tuple[list[Any], list[Any]]:
    return result.values.tolist(), result.indices.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_worked_example(kind: str) -> None:
    scores = KINDS[kind](np.array([0.125, 0.5, 0.25, 0.125]))
    assert as_lists(top_k(scores, 3)) == ([0.5, 0.25, 0.125], [1, 2, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(7,), (4, 9), (2, 3, 5), (2, 1, 2, 4)])
@pytest.mark.parametrize("k", [1, 2, 5, 100])
def test_ties_go_by_index_whatever_the_array_and_its_axes(
    kind: str, shape: tuple[int, ...], k: int
) -> None:
    # given scores of which many are equal
    scores = np.random.default_rng(k).integers(-2, 3, shape).astype(np.float32)
    # when
    values, indices = top_k(KINDS[kind](scores), k)
    # then
    kept = min(k, shape[-1])
    assert tuple(values.shape) == tuple(indices.shape) == (*shape[:-1], kept)
    rows = zip(
        scores.reshape(-1, shape[-1]).tolist(),
        values.reshape(-1, kept).tolist(),
        indices.reshape(-1, kept).tolist(),
        strict=True,
    )
    for row, row_values, row_indices in rows:
        assert (row_values, row_indices) == by_hand(row, k)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *(("numpy", name) for name in (*FLOATS, *INTEGERS, "uint16", "uint64", ">f4", "bool")),
        *(("torch", name) for name in (*FLOATS, *INTEGERS, "bool")),
    ],
)
@pytest.mark.parametrize(
    ("labels", "spread"),
    [(10, 7), (255, 7), (256, 7), (600, 7), (1000, 50), (2000, 2), (2000, 100), (2000, 60_000)],
)
def test_rows_of_any_length_with_ties_where_it_counts(
    kind: str, dtype: str, labels: int, spread: int
) -> None:
    # given rows with many ties or hardly any, in the largest and smallest numbers of their type too
    drawn = np.random.default_rng(labels + spread).integers(0, spread, (5, 10, labels))
    scores = drawn.astype(dtype)
    if scores.dtype.kind in "iu":
        limits = np.iinfo(scores.dtype)
        scores[drawn == 0], scores[drawn == spread - 1] = limits.min, limits.max
    rows = scores.reshape(-1, labels).tolist()
    expected = [by_hand(row, labels) for row in rows]
    for k in (1, 7, 37, labels - 1, labels):
        # when
        values, indices = top_k(KINDS[kind](scores), k)
        # then
        assert values.dtype == KINDS[kind](scores).dtype
        values, indices = values.reshape(50, -1).tolist(), indices.reshape(50, -1).tolist()
        for (by_value, by_index), mine, places in zip(expected, values, indices, strict=True):
            assert (mine, places) == (by_value[:k], by_index[:k])


@pytest.mark.parametrize(
    "scores",
    [
        *(np.array([[0, 1, 1], [1, 0, 1]]).astype(name) for name in (*FLOATS, *INTEGERS, "bool")),
        *(
            torch.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(torch, name))
            for name in (*FLOATS, *INTEGERS, "bool", "bfloat16")
        ),
    ],
    ids=lambda scores: f"{type(scores).__name__} {scores.dtype}",
)
def test_values_have_the_scores_kind_and_dtype(scores: Any) -> None:
    values, indices = top_k(scores, 2)
    assert type(values) is type(indices) is type(scores)
    assert values.dtype == scores.dtype
    assert str(indices.dtype).endswith("int64")
    assert indices.tolist() == [[1, 2], [0, 2]]


def test_bfloat16_through_dlpack_becomes_float32_which_numpy_knows() -> None:
    tensor = torch.tensor([1.0, 3.0, 2.0], dtype=torch.bfloat16)
    values, indices = top_k(OnlyDLPack(tensor), 2)
    assert isinstance(values, np.ndarray)
    assert (values.dtype, values.tolist(), indices.tolist()) == (np.float32, [3.0, 2.0], [1, 2])


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_view_with_strides_is_read_in_its_own_order(kind: str) -> None:
    whole = KINDS[kind](np.arange(24.0).reshape(4, 6))
    assert top_k(whole.T, 1).indices.tolist() == [[3]] * 6
    assert top_k(whole[:, ::2], 2).values.tolist() == [[4 + 6 * r, 2 + 6 * r] for r in range(4)]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_the_callers_scores_are_not_changed(kind: str) -> None:
    scores = KINDS[kind](np.array([3.0, 1.0, 2.0]))
    top_k(scores, 2)
    assert scores.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("kind", ["numpy", "torch", "list"])
def test_infinities_have_their_rank(kind: str) -> None:
    scores = KINDS[kind](np.array([-np.inf, 1.0, np.inf, -np.inf]))
    inf = float("inf")
    assert as_lists(top_k(scores, 4)) == ([inf, 1.0, -inf, -inf], [2, 1, 0, 3])


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_zero_and_minus_zero_are_a_tie(kind: str) -> None:
    assert top_k(KINDS[kind](np.array([-0.0, 0.0, -0.0])), 3).indices.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("shape", [(0, 5), (0,), (3, 0), (0, 0), (2, 0, 4), (2, 3, 0)])
def test_no_rows_and_no_labels_give_an_empty_result(kind: str, shape: tuple[int, ...]) -> None:
    values, indices = top_k(KINDS[kind](np.zeros(shape)), 3)
    expected = (*shape[:-1], min(3, shape[-1]))
    assert tuple(values.shape) == tuple(indices.shape) == expected
    assert str(indices.dtype).endswith("int64")


def test_an_empty_list_gives_an_empty_result() -> None:
    assert as_lists(top_k([], 3)) == ([], [])


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_k_may_be_a_numpy_integer_or_larger_than_any_machine_integer(kind: str) -> None:
    scores = KINDS[kind](np.array([1.0, 2.0]))
    assert top_k(scores, np.int32(1)).indices.tolist() == [1]  # type: ignore[arg-type]
    assert top_k(scores, 2**70).indices.tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["numpy", "torch", "list"])
@pytest.mark.parametrize("k", [0, -1, True, False, 1.0, "1", None, np.bool_(1), np.float64(2)])
def test_a_wrong_k_is_quoted(kind: str, k: Any) -> None:
    with pytest.raises(
        InputError, match=r"^Invalid k .*; give an integer of 1 or more\.$"
    ) as caught:
        top_k(KINDS[kind](np.array([1.0])), k)
    assert repr(k) in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0, 3])
def test_nan_has_no_rank(kind: str, place: int) -> None:
    scores = np.arange(4.0)
    scores[place] = np.nan
    with pytest.raises(InputError, match="NaN"):
        top_k(KINDS[kind](scores), 1)


class AbortingDLPack:
    """As TensorFlow's tensors of strings, for which DLPack aborts the process."""

    strings = np.array([b"a", b"b"], dtype=object)

    def __dlpack__(self, **options: Any) -> Any:
        pytest.fail("asked for numbers that it can't have")


class OfStrings(AbortingDLPack):
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.strings


class OfStringsByInterface(AbortingDLPack):
    __array_interface__ = AbortingDLPack.strings.__array_interface__


NO_NUMBERS = (
    *(object(), None, "cat", ["cat", "dog"], {0.1, 0.2}, {"cat": 0.5}, [1j, 2.0]),
    torch.tensor([1j, 2.0]),
    np.array([object()]),
    np.array(["2020-01-01"], dtype="datetime64[D]"),
)
SINGLE = (5, 0.5, np.float32(1), torch.tensor(2.0), np.array(3))
OBJECTS = r"^The scores are of type object; give real numbers\.$"


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        *((scores, "single number") for scores in SINGLE),
        *((scores, r"^The scores.* real numbers") for scores in NO_NUMBERS),
        *((kind(), OBJECTS) for kind in (OfStrings, OfStringsByInterface)),
        ([[1.0], [1.0, 2.0]], "converted to an array"),
        (torch.tensor([1.0, float("nan")], dtype=torch.bfloat16), "NaN"),
        (np.ma.masked_array([1.0, 9.0, 2.0], mask=[0, 1, 0]), r"1 masked values.*filled"),
        (np.ma.masked_array([1.0, 9.0, 2.0], mask=True), r"3 masked values.*filled"),
    ],
)
def test_scores_that_have_no_rank_are_refused(scores: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        top_k(scores, 1)


def test_a_masked_array_with_nothing_masked_is_an_array_like_any_other() -> None:
    for scores in (np.ma.masked_array([1.0, 9.0]), np.ma.masked_array([1.0, 9.0], mask=[0, 0])):
        assert as_lists(top_k(scores, 1)) == ([9.0], [1])


def test_many_short_rows_take_no_step_of_python_each() -> None:
    # given rows by the hundred thousand, and a count of the calls of Python's that they take
    scores = np.random.default_rng(0).random((100_000, 10), dtype=np.float32)
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    # when
    sys.setprofile(count)
    try:
        values, indices = top_k(scores, 5)
    finally:
        sys.setprofile(None)
    # then
    assert calls < 1000
    expected = torch.from_numpy(scores).topk(5)
    assert np.array_equal(values, expected.values.numpy())
    assert np.array_equal(np.take_along_axis(scores, indices, axis=-1), values)
