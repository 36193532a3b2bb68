"""What all pictures of a pipeline share on their way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from worker.pipeline.gate import Gate
from worker.pipeline.host_limiter import Hosts
from worker.pipeline.memory_budget import MemoryBudget
from worker.pipeline.retry import Random, RetryPolicy
from worker.pipeline.score_stage import Scoring
from worker.pipeline.thread_pool import Pool
from worker.pipeline.timer import Timer
from worker.sources.reservation import Reserve

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine
    from worker.pipeline.batcher import Batcher

_WEIGHT = 0.05  # of the newest in an average that moves: the last 20 or so count


class Fetches(Protocol):
    """Whatever gives a URI's bytes; `worker.sources.Fetcher` does."""

    def fetch(self, uri: str, reserve: Reserve) -> bytes:
        """The bytes, or an error of `worker.errors`, or what `reserve` raises."""


class ReadsLabelSets(Protocol):
    """Whatever gives the labels that are stored under a name; `worker.redis.label_sets` does."""

    def get(self, name: str) -> tuple[str, ...]:
        """The labels, or an error of `worker.errors`."""


@dataclass
class Tally:
    """What can be seen of the pictures in hand.

    Threads write to it without a lock: the containers' own operations are atomic, and an average
    that misses a value now and then does no harm.

    Attributes:
        pausing: How many wait for another attempt, each by a key of its own.
        decoding: When each thread that decodes began, by its id, as the line's clock reads.
        preparation_s: Seconds that a job was fetched and decoded for, of those that were not held
            up. Waiting for a thread does not count: it grows with what is in hand.
    """

    pausing: set[object] = field(default_factory=set)
    decoding: dict[int, float] = field(default_factory=dict)
    preparation_s: float = 0.0

    def prepared(self, seconds: float) -> None:
        """Take one job's time into the average."""
        before = self.preparation_s
        self.preparation_s = before + _WEIGHT * (seconds - before) if before else seconds


@dataclass(frozen=True)
class Line:
    """The collaborators of all stages; `worker.pipeline.pipeline.Pipeline` tells what each is."""

    engine: Engine
    fetcher: Fetches
    label_sets: ReadsLabelSets | None
    batcher: Batcher[Tensor, Tensor]
    fetch_pool: Pool
    decode_pool: Pool
    gate: Gate
    scoring: Scoring
    hosts: Hosts
    budget: MemoryBudget
    timer: Timer
    retry: RetryPolicy
    now: Callable[[], float]
    random: Random
    tally: Tally = field(default_factory=Tally)

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds, monotonic: the timer's, for attempts and rests."""
        return self.timer.clock
