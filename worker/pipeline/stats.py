"""What can be seen of a pipeline from outside."""

from __future__ import annotations

from dataclasses import dataclass, field

_WEIGHT = 0.05  # of the newest in a moving average: the last 20 or so count


@dataclass
class PipelineStats:
    """Counters that threads write to without a lock.

    The containers' own operations are atomic, and an average that misses a value now and then does
    no harm.

    Attributes:
        pausing: Keys of the images that wait for another attempt to fetch them.
        preparation_s: Seconds that an image was fetched and decoded for, of those that were not
            delayed. Waiting for a process does not count: it grows with what is in flight.
    """

    pausing: set[int] = field(default_factory=set)
    preparation_s: float = 0.0

    def prepared(self, seconds: float) -> None:
        """Take one image's time into the average."""
        before = self.preparation_s
        self.preparation_s = before + _WEIGHT * (seconds - before) if before else seconds
