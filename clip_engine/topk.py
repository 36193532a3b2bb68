"""The K largest scores of each row, for NumPy, torch and DLPack arrays."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.utils.dlpack
from numpy.typing import NDArray
from torch import Tensor

from clip_engine.errors import InputError

Array: TypeAlias = NDArray[Any] | Tensor

MANY = 512  # scores in a row; fewer are sorted as quickly as they are searched
FEW = 256  # scores in a row; NumPy sorts all rows in one call sooner than it searches each
NUMPYS_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__")


class TopK(NamedTuple):
    """Scores in descending order and where they stood.

    Attributes:
        values: `[..., K]`, the input's dtype.
        indices: `[..., K]`, int64; of equal scores the lower index comes first.
    """

    values: Array
    indices: Array


def top_k(scores: object, k: int) -> TopK:
    """Take the K largest scores along the last axis, in descending order, ties by index.

    Args:
        scores: `[L]` or `[B, L]` (or more leading axes) without NaN. A torch tensor gives tensors
            on its own device; a NumPy array, a sequence, or any object that offers `__array__` or
            `__dlpack__` (JAX, CuPy, TensorFlow, ...) gives NumPy arrays.
        k: How many; L if L is fewer.

    Raises:
        InputError: `k` is below 1 or no integer, the scores have no axis, hold NaN or no numbers,
            or are a masked array with something masked.

    >>> top_k([0.1, 0.7, 0.1, 0.1], k=2)
    TopK(values=array([0.7, 0.1]), indices=array([1, 0]))
    """
    check_k(k)
    if isinstance(scores, Tensor):
        if scores.is_complex():
            raise InputError(f"The scores' type is {scores.dtype}; give real numbers.")
        return top_k_of_numbers(_checked(scores, torch.isnan), int(k))
    array = _as_numpy(scores)
    if array.dtype.kind not in "biuf":
        raise InputError(f"The scores' type is {array.dtype}; give real numbers.")
    return _top_k_numpy(_checked(array, np.isnan), int(k))


def check_k(k: object) -> None:
    """See that K is one.

    Raises:
        InputError: It is below 1 or no integer.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k is {k!r}; give an integer of 1 or more.")


def top_k_of_numbers(scores: Tensor, k: int) -> TopK:
    """`top_k` of a tensor that is known to be real and without NaN, by somebody who checked k."""
    if scores.shape[-1] >= MANY and k < scores.shape[-1] and scores.dtype != torch.bool:
        # torch.topk is linear in L, but leaves the choice among equals and their order open.
        least = scores.topk(k, dim=-1, sorted=False)
        reach = scores >= least.values.amin(dim=-1, keepdim=True)
        if bool((reach.sum(dim=-1) == k).all()):  # no choice among equals
            indices = least.indices.sort(dim=-1).values
            values, order = _sorted(scores.gather(-1, indices))
            return TopK(values, indices.gather(-1, order))
    values, indices = _sorted(scores)
    return TopK(values[..., :k], indices[..., :k])


def _sorted(scores: Tensor) -> tuple[Tensor, Tensor]:
    """In descending order, equal ones as they stood, and where they stood."""
    values, indices = torch.sort(scores, dim=-1, descending=True, stable=True)
    return values, indices


def _top_k_numpy(scores: NDArray[Any], k: int) -> TopK:
    *batch, labels = scores.shape
    k = min(k, labels)
    rows = scores.reshape(math.prod(batch), labels)
    indices = _indices_by_sorting(rows, k) if labels < FEW else _indices_by_row(rows, k)
    indices = indices.reshape(*batch, k)
    return TopK(np.take_along_axis(scores, indices, axis=-1), indices)


def _indices_by_sorting(rows: NDArray[Any], k: int) -> NDArray[np.int64]:
    """All rows in one call, which counts where they are many and short."""
    # Ascending and stable over reversed rows; read backwards: scores fall, positions rise.
    order = np.argsort(rows[:, ::-1], axis=-1, kind="stable")[:, ::-1][:, :k]
    return np.ascontiguousarray(rows.shape[-1] - 1 - order, dtype=np.int64)


def _indices_by_row(rows: NDArray[Any], k: int) -> NDArray[np.int64]:
    indices = np.empty((len(rows), k), dtype=np.int64)
    for row, kept in zip(rows, indices, strict=True):
        kept[:] = _row_indices(row, k)
    return indices


def _row_indices(row: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Linear in L: only what reaches the K-th largest score is sorted."""
    threshold = np.partition(row, len(row) - k)[len(row) - k] if k else 0
    candidates = np.flatnonzero(row >= threshold)[::-1]
    # Ascending and stable over descending positions; read backwards: scores fall, positions rise.
    order = np.argsort(row[candidates], kind="stable")[::-1][:k]
    return candidates[order]


def _checked(scores: Any, isnan: Any) -> Any:
    if scores.ndim == 0:
        raise InputError(f"The scores are the single number {scores!r}; give an axis of labels.")
    if isnan(scores).any():
        raise InputError("The scores hold NaN, which has no rank; mend the model or its input.")
    return scores


def _as_numpy(scores: Any) -> NDArray[Any]:
    """View or copy as NumPy, by whichever of the two protocols gives numbers.

    CuPy's `__array__` refuses, and NumPy has no bfloat16: DLPack through torch serves both.
    """
    if isinstance(scores, np.ma.MaskedArray) and (masked := np.count_nonzero(scores.mask)):
        raise InputError(
            f"The scores are a masked array with {masked} values masked, which have no rank; fill "
            "them, with -inf for instance: scores.filled(-numpy.inf)."
        )
    try:
        array = np.asarray(scores)
    except (TypeError, ValueError) as refusal:
        if not hasattr(scores, "__dlpack__"):
            raise InputError(f"The scores are no array: {refusal}.") from refusal
        return _from_dlpack(scores)
    return _from_dlpack(scores) if _is_left_to_dlpack(scores, array) else array


def _is_left_to_dlpack(scores: Any, array: NDArray[Any]) -> bool:
    """Whether NumPy found no numbers in an object that may hold some all the same.

    If it offers NumPy an array, and one of Python objects, strings for instance, DLPack has no
    numbers either; and TensorFlow, asked for strings by DLPack, aborts the process.
    """
    if not hasattr(scores, "__dlpack__"):
        return False
    if array.dtype.kind == "O":
        return not any(hasattr(scores, protocol) for protocol in NUMPYS_PROTOCOLS)
    return array.dtype.kind == "V"


def _from_dlpack(scores: Any) -> NDArray[Any]:
    try:
        tensor = torch.utils.dlpack.from_dlpack(scores)
    except (BufferError, RuntimeError, TypeError, ValueError) as refusal:
        raise InputError(f"The scores are no array of real numbers: {refusal}.") from refusal
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.cpu().numpy()
