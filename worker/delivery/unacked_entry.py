r"""What stands in a worker's hash: a message, where it came from, and its crashes.

Example: `b"clip\n1\n1763730000.5 1 gpu-3\n{...}"` is a message of the list `clip` that was
being worked on, alone, by worker `gpu-3` when that died.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from worker.delivery.lease import Lease

TOGETHER_UNKNOWN = 0  # a crowd, whose size changes all the time


@dataclass(frozen=True)
class Crash:
    """A worker's death while it worked on a message.

    Attributes:
        at: Unix time in seconds when that work began.
        together: How many messages it worked on at the time, this one included; 0 for a crowd.
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
        lease: What it was taken under.
        tag: Names this delivery of it; another delivery has another tag.
        crashes: Newest first.
        message: As the producer wrote it.
    """

    lease: Lease
    tag: str
    crashes: tuple[Crash, ...]
    message: bytes

    @classmethod
    def decode(cls, lease: Lease, tag: bytes, entry: bytes) -> UnackedEntry:
        """Take apart what `take.lua` gave."""
        _source, count, rest = entry.split(b"\n", 2)
        if count == b"0":
            return cls(lease, tag.decode(), (), rest)
        *lines, message = rest.split(b"\n", int(count))
        return cls(lease, tag.decode(), tuple(map(Crash.decode, lines)), message)
