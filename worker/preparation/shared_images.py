"""Memory that the model's process shares with the preparation processes.

It is an anonymous file, handed on by its descriptor, and so needs no room in /dev/shm: a container
has 64 MB there. The first page says what each process is doing; the pixels follow.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Self

import numpy as np
from numpy.typing import NDArray

NONE = -1  # no slot
_PAGE = mmap.ALLOCATIONGRANULARITY


class SharedImages:
    """Slots for prepared images, and two numbers a process.

    Args:
        descriptor: An open file of the right size; closed with this object.
        slots: How many images there is room for.
        resolution: R, pixels a side.
        places: How many processes there may be.

    Attributes:
        pixels: uint8 `[slots, 3, R, R]`, RGB.
        decoding: int64 `[places]`: the slot that each process decodes into, or `NONE`.
        waiting: int64 `[places]`: fetches of each process that wait for memory.
    """

    def __init__(self, descriptor: int, slots: int, resolution: int, places: int) -> None:
        self.descriptor = descriptor
        self._mapping = mmap.mmap(descriptor, _length(slots, resolution, places))
        shape = (slots, 3, resolution, resolution)
        self.pixels: NDArray[np.uint8] = np.ndarray(
            shape, np.uint8, self._mapping, offset=_first_page(places)
        )
        numbers: NDArray[np.int64] = np.ndarray((2, places), np.int64, self._mapping)
        self.decoding, self.waiting = numbers

    @classmethod
    def create(cls, slots: int, resolution: int, places: int) -> Self:
        """Reserve the memory; pages are taken up when they are first written."""
        descriptor = _anonymous_file()
        os.ftruncate(descriptor, _length(slots, resolution, places))
        return cls(descriptor, slots, resolution, places)

    def slot(self, place: int) -> int:
        """The slot that a process decodes into, or `NONE`."""
        return int(self.decoding[place])

    def close(self) -> None:
        """Close the file. The mapping stays for as long as somebody looks at the pixels."""
        os.close(self.descriptor)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("clip-worker-images")
    descriptor, path = tempfile.mkstemp()  # macOS
    os.unlink(path)  # noqa: PTH108  # a descriptor's neighbour, not a path
    return descriptor


def _first_page(places: int) -> int:
    return -(-2 * 8 * places // _PAGE) * _PAGE


def _length(slots: int, resolution: int, places: int) -> int:
    return _first_page(places) + slots * 3 * resolution * resolution
