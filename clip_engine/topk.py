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

MANY = 512  # scores in a row from which torch.topk is faster than sorting
FEW = 256  # scores in a row below which NumPy sorts all rows faster than it partitions each
NUMPYS_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__")


class TopK(NamedTuple):
    """The largest scores in descending order, and their indices.

    Attributes:
        values: `[..., K]`, the input's dtype.
        indices: `[..., K]`, int64; of equal scores, the lower index comes first.
    """

    values: Array
    indices: Array


def top_k(scores: object, k: int) -> TopK:
    """The K largest scores along the last axis, in descending order, ties by index.

    Args:
        scores: `[L]` or `[B, L]` (or more leading axes) without NaN. A torch tensor gives tensors
            on its own device. A NumPy array, a sequence, or any object with `__array__` or
            `__dlpack__` (JAX, CuPy, TensorFlow, ...) gives NumPy arrays.
        k: K; L if that is smaller.

    Raises:
        InputError: `k` is not an integer of 1 or more; or the scores have no axis, hold NaN, are
            not real numbers, or are an array with masked values.

    >>> top_k([0.1, 0.7, 0.1, 0.1], k=2)
    TopK(values=array([0.7, 0.1]), indices=array([1, 0]))
    """
    check_k(k)
    if isinstance(scores, Tensor):
        if scores.is_complex():
            raise InputError(f"The scores are of type {scores.dtype}; give real numbers.")
        return top_k_of_numbers(_checked(scores, torch.isnan), int(k))
    array = _as_numpy(scores)
    if array.dtype.kind not in "biuf":
        raise InputError(f"The scores are of type {array.dtype}; give real numbers.")
    return _top_k_numpy(_checked(array, np.isnan), int(k))


def check_k(k: object) -> None:
    """Check K.

    Raises:
        InputError: It is not an integer of 1 or more.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"Invalid k {k!r}; give an integer of 1 or more.")


def top_k_of_numbers(scores: Tensor, k: int) -> TopK:
    """`top_k` of a tensor of real numbers without NaN; `k` must be valid."""
    if scores.shape[-1] >= MANY and k < scores.shape[-1] and scores.dtype != torch.bool:
        return _top_k_of_many(scores, k)
    values, indices = _sorted(scores)
    return TopK(values[..., :k], indices[..., :k])


def _top_k_of_many(scores: Tensor, k: int) -> TopK:
    """torch.topk is linear in L, but doesn't specify which of equal scores it returns."""
    most = scores.topk(k + 1, dim=-1)
    indices = most.indices[..., :k].sort(dim=-1).values
    values, order = _sorted(scores.gather(-1, indices))
    indices = indices.gather(-1, order)
    tied = most.values[..., k - 1] == most.values[..., k]
    if bool(tied.any()):
        indices[tied] = _sorted(scores[tied])[1][..., :k]
    return TopK(values, indices)


def _sorted(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Stable sort in descending order, with indices."""
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
    """All rows in one call, which is faster for many short rows."""
    # A stable ascending sort of the reversed row, read backwards: ties are in ascending order.
    order = np.argsort(rows[:, ::-1], axis=-1, kind="stable")[:, ::-1][:, :k]
    return np.ascontiguousarray(rows.shape[-1] - 1 - order, dtype=np.int64)


def _indices_by_row(rows: NDArray[Any], k: int) -> NDArray[np.int64]:
    indices = np.empty((len(rows), k), dtype=np.int64)
    for row, kept in zip(rows, indices, strict=True):
        kept[:] = _row_indices(row, k)
    return indices


def _row_indices(row: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Linear in L: only scores not below the K-th largest are sorted."""
    threshold = np.partition(row, len(row) - k)[len(row) - k] if k else 0
    candidates = np.flatnonzero(row >= threshold)[::-1]
    # A stable ascending sort, read backwards: ties are in ascending order of their indices.
    order = np.argsort(row[candidates], kind="stable")[::-1][:k]
    return candidates[order]


def _checked(scores: Any, isnan: Any) -> Any:
    if scores.ndim == 0:
        raise InputError(f"The scores are a single number, {scores!r}; give one for each label.")
    if isnan(scores).any():
        raise InputError(
            "The scores contain NaN, which can't be ranked; check the model and its input."
        )
    return scores


def _as_numpy(scores: Any) -> NDArray[Any]:
    """Convert to NumPy, through `__array__` or else DLPack.

    CuPy's `__array__` raises, and NumPy has no bfloat16: DLPack through torch handles both.
    """
    if isinstance(scores, np.ma.MaskedArray) and (masked := np.count_nonzero(scores.mask)):
        raise InputError(
            f"The scores have {masked} masked values, which can't be ranked; fill them, for "
            "instance with scores.filled(-numpy.inf)."
        )
    try:
        array = np.asarray(scores)
    except (TypeError, ValueError) as refusal:
        if not hasattr(scores, "__dlpack__"):
            raise InputError(f"The scores can't be converted to an array: {refusal}.") from refusal
        return _from_dlpack(scores)
    return _from_dlpack(scores) if _is_left_to_dlpack(scores, array) else array


def _is_left_to_dlpack(scores: Any, array: NDArray[Any]) -> bool:
    """Whether NumPy found no numbers, but DLPack may.

    If the object gives NumPy an array of Python objects, such as strings, DLPack has no numbers
    either; and TensorFlow aborts the process when strings are requested through DLPack.
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
        raise InputError(f"The scores are not an array of real numbers: {refusal}.") from refusal
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.cpu().numpy()
