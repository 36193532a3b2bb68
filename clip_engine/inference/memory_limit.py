"""Limits a tower's batches to what fits into the device's memory.

A batch that doesn't fit is halved, and no batch of the size that failed is tried again. Another
process may have held the memory for a while, but a worker that stays slower does less harm than one
that keeps failing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from clip_engine.errors import DeviceMemoryError
from clip_engine.inference.device_errors import device_losses, is_out_of_memory

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class BatchLimit:
    """The largest batch that a tower is given. Thread-safe.

    Args:
        largest: Initial limit, in rows.
        what: What the rows are, for messages; such as "images".
        lowered: Called after the limit was lowered because of memory, to free some of it.
    """

    def __init__(
        self, largest: int, what: str, lowered: Callable[[], object] = lambda: None
    ) -> None:
        self.largest = largest
        self._what = what
        self._lowered = lowered
        self._lock = threading.Lock()

    def run(
        self,
        rows: Sequence[Tensor],
        forward: Callable[[Sequence[Tensor], int], Tensor],
        padded: Callable[[int], int] = int,
    ) -> list[Tensor]:
        """Run the tower on the rows, in order, in chunks that fit.

        Args:
            rows: Any number.
            forward: Maps a chunk and the number of rows to compute, which may include padding, to
                a tensor with a row for each of the chunk.
            padded: Maps a chunk's length to the number of rows that `forward` should compute,
                memory permitting.

        Raises:
            DeviceMemoryError: Not even one row fits.
            DeviceLostError: The device failed for good.
        """
        done: list[Tensor] = []
        start = 0
        while start < len(rows):
            # Read once: another thread may lower it while this chunk runs.
            largest = self.largest
            chunk = rows[start : start + largest]
            size = min(largest, padded(len(chunk)))
            result = self.attempt(size, partial(forward, chunk, size))
            if result is not None:
                assert len(result) == len(chunk)
                done.append(result)
                start += len(chunk)
        return done

    def attempt(self, size: int, action: Callable[[], Result]) -> Result | None:
        """Do what needs memory for a batch of so many rows; if that doesn't fit, halve the limit.

        Returns:
            The action's result, or None if it didn't fit.

        Raises:
            DeviceMemoryError: Not even one row fits.
            DeviceLostError: The device failed for good.
        """
        result = _attempt(action)
        if result is None:
            self._shrink(size)
        return result

    def lower(self, largest: int) -> bool:
        """Lower the limit; False if it was as low already."""
        with self._lock:  # several threads may fail at the same size
            if largest >= self.largest:
                return False
            self.largest = largest
            return True

    def _shrink(self, failed: int) -> None:
        torch.cuda.empty_cache()  # a no-op without CUDA
        if failed == 1:
            raise DeviceMemoryError(
                f"A batch of 1 of the {self._what} doesn't fit into the device's memory; free some "
                "of it, use a smaller model, or run on another device."
            )
        if not self.lower(failed // 2):
            return
        self._lowered()
        logger.warning(
            "A batch of %d %s doesn't fit into the device's memory; the limit is now %d.",
            failed,
            self._what,
            failed // 2,
        )


def _attempt(action: Callable[[], Result]) -> Result | None:
    """The result, or None if it didn't fit.

    It raises nothing in that case: a traceback would keep the memory that has to be freed.
    """
    try:
        with device_losses():
            return action()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
