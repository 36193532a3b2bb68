"""How many rows a tower may take at once, learnt from the device's memory.

When a batch doesn't fit, it is halved, and the size that failed is not tried again. Another process
may have held the memory, but a worker that stays slow does less harm than one that keeps failing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clip_engine.errors import DeviceMemoryError
from clip_engine.inference.device_errors import device_losses, is_out_of_memory

logger = logging.getLogger(__name__)


class BatchLimit:
    """The largest batch that a tower is given. Threads may share it.

    Args:
        largest: Rows, before anything has failed.
        what: The rows in a word, for messages.
    """

    def __init__(self, largest: int, what: str) -> None:
        self.largest = largest
        self._what = what
        self._lock = threading.Lock()

    def run(
        self,
        rows: Sequence[Tensor],
        forward: Callable[[Sequence[Tensor], int], Tensor],
        padded: Callable[[int], int] = int,
    ) -> list[Tensor]:
        """Hand the rows to the tower, in order, as many at a time as fit.

        Args:
            rows: Any number.
            forward: From a chunk of them, and how many rows to compute, to a tensor of as many
                rows as the chunk has.
            padded: From a chunk's length to how many rows `forward` should compute, if memory
                allows that many.

        Raises:
            DeviceMemoryError: Not even one row fits.
            DeviceLostError: The device is gone.
        """
        done: list[Tensor] = []
        start = 0
        while start < len(rows):
            # Read once: another thread may lower it while this chunk is under way.
            largest = self.largest
            chunk = rows[start : start + largest]
            size = min(largest, padded(len(chunk)))
            result = _attempt(forward, chunk, size)
            if result is None:
                self._shrink(size)
            else:
                assert len(result) == len(chunk)
                done.append(result)
                start += len(chunk)
        return done

    def _shrink(self, failed: int) -> None:
        torch.cuda.empty_cache()  # does nothing where there is no CUDA
        if failed == 1:
            raise DeviceMemoryError(
                f"The device's memory doesn't hold a batch of 1 of the {self._what}; free some of "
                "it, take a smaller model, or run on another device."
            )
        with self._lock:  # several threads may fail at the same size
            if failed // 2 >= self.largest:
                return
            self.largest = failed // 2
        logger.warning(
            "A batch of %d %s doesn't fit into the device's memory; from now on at most %d.",
            failed,
            self._what,
            failed // 2,
        )


def _attempt(
    forward: Callable[[Sequence[Tensor], int], Tensor], chunk: Sequence[Tensor], size: int
) -> Tensor | None:
    """The result, or None if it didn't fit.

    Not an exception: its traceback would hold on to the very memory that is to be freed.
    """
    try:
        with device_losses():
            return forward(chunk, size)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
