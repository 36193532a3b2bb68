r"""What stands in the unacknowledged set: a message, where it came from, and its crashes.

Example: `b"clip\n1\n1763730000.5 1 gpu-3\n{...}"` is a message of the list `clip` that was
in the making, alone, on worker `gpu-3` when that died.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

TOGETHER_UNKNOWN = 0  # a crowd, whose size changes all the time


@dataclass(frozen=True)
class Crash:
    """A worker's death while a message was in the making.

    Attributes:
        at: Unix time in seconds when the making was begun.
        together: How many messages were in the making with it, itself included; 0 for a crowd.
        worker: Name of the worker.
    """

    at: float
    together: int
    worker: str

    def encode(self) -> str:
        """One line."""
        return f"{self.at:.3f} {self.together} {self.worker}"

    @classmethod
    def decode(cls, line: bytes) -> Crash:
        """What `encode` wrote."""
        at, together, worker = line.decode(errors="replace").split(" ", 2)
        return cls(float(at), int(together), worker)


class UnackedEntry(NamedTuple):
    """A message that this process holds.

    Attributes:
        tag: Names this delivery of it; another delivery has another tag.
        crashes: Newest first.
        message: As the producer wrote it.
        held_until: When its lease ends at the earliest, by `lease_clock`.
    """

    tag: str
    crashes: tuple[Crash, ...]
    message: bytes
    held_until: float = math.inf

    @classmethod
    def decode(cls, tag: bytes, entry: bytes, held_until: float) -> UnackedEntry:
        """Take apart what `take.lua` gave."""
        _source, count, rest = entry.split(b"\n", 2)
        if count == b"0":
            return cls(tag.decode(), (), rest, held_until)
        *lines, message = rest.split(b"\n", int(count))
        return cls(tag.decode(), tuple(map(Crash.decode, lines)), message, held_until)
