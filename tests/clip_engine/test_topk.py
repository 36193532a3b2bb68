"""Top-K for every kind of array, against a brute-force sort."""

from __future__ import annotations

import sys
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


class OnlyArray:
    """Offers `__array__` and nothing else, as pandas and TensorFlow do."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self._array


class OnlyDLPack:
    """Offers DLPack and nothing else; with a refusing `__array__`, as CuPy has, if `refuses`."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


class RefusingArray(OnlyDLPack):
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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_thousand_labels_with_ties_at_every_k(seed: int, kind: str) -> None:
    row = np.random.default_rng(seed).integers(0, 50, 1000).astype(np.float64)
    for k in (1, 5, 37, 999, 1000):
        assert as_lists(top_k(KINDS[kind](row), k)) == by_hand(row.tolist(), k)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
@pytest.mark.parametrize("spread", [2, 100, 60_000])
def test_rows_of_many_labels_some_with_ties_where_it_counts(dtype: str, spread: int) -> None:
    # given rows with many ties, with few, with hardly any
    drawn = np.random.default_rng(spread).integers(0, spread, (3, 5, 2000))
    scores = torch.from_numpy(drawn.astype(dtype))
    for k in (1, 7, 1999, 2000):
        # when
        values, indices = top_k(scores, k)
        # then
        assert values.dtype == scores.dtype
        rows = zip(scores.flatten(0, 1), values.flatten(0, 1), indices.flatten(0, 1), strict=True)
        for row, row_values, row_indices in rows:
            assert (row_values.tolist(), row_indices.tolist()) == by_hand(row.tolist(), k)


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


def test_nan_in_bfloat16_is_found() -> None:
    with pytest.raises(InputError, match="NaN"):
        top_k(torch.tensor([1.0, float("nan")], dtype=torch.bfloat16), 1)


@pytest.mark.parametrize("scores", [5, 0.5, np.float32(1), torch.tensor(2.0), np.array(3)])
def test_a_single_number_is_refused(scores: object) -> None:
    with pytest.raises(InputError, match="single number"):
        top_k(scores, 1)


@pytest.mark.parametrize(
    "scores",
    [
        object(),
        None,
        "cat",
        ["cat", "dog"],
        {0.1, 0.2},
        {"cat": 0.5},
        [1j, 2.0],
        torch.tensor([1j, 2.0]),
        np.array([object()]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
    ],
)
def test_what_holds_no_real_numbers_is_refused(scores: object) -> None:
    with pytest.raises(InputError, match=r"^The scores.* real numbers"):
        top_k(scores, 1)


def test_a_ragged_list_is_refused() -> None:
    with pytest.raises(InputError, match="converted to an array"):
        top_k([[1.0], [1.0, 2.0]], 1)


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


@pytest.mark.parametrize("kind", [OfStrings, OfStringsByInterface])
def test_an_object_that_gave_strings_is_not_asked_for_numbers(kind: Any) -> None:
    with pytest.raises(InputError, match=r"^The scores are of type object; give real numbers\.$"):
        top_k(kind(), 1)


@pytest.mark.parametrize("mask", [[False, True, False], True])
def test_masked_scores_have_no_rank(mask: Any) -> None:
    scores = np.ma.masked_array([1.0, 9.0, 2.0], mask=mask)
    masked = np.ma.count_masked(scores)
    with pytest.raises(InputError, match=rf"{masked} masked values.*filled"):
        top_k(scores, 1)


def test_a_masked_array_with_nothing_masked_is_an_array_like_any_other() -> None:
    for scores in (np.ma.masked_array([1.0, 9.0]), np.ma.masked_array([1.0, 9.0], mask=[0, 0])):
        assert as_lists(top_k(scores, 1)) == ([9.0], [1])


@pytest.mark.parametrize("labels", [10, 255, 256, 600])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "uint16", "uint64", ">f4", "bool"])
def test_numpy_and_torch_agree_on_rows_of_any_length(labels: int, dtype: str) -> None:
    # given scores with many ties, in the largest and smallest numbers of their type, too
    drawn = np.random.default_rng(labels).integers(0, 2 if dtype == "bool" else 7, (50, labels))
    scores = drawn.astype(dtype)
    if scores.dtype.kind in "iu":
        limits = np.iinfo(scores.dtype)
        scores[scores == 0], scores[scores == 6] = limits.min, limits.max
    for k in (1, 5, labels):
        values, indices = top_k(scores, k)
        for row, row_values, row_indices in zip(scores, values, indices, strict=True):
            assert (row_values.tolist(), row_indices.tolist()) == by_hand(row.tolist(), k)


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
