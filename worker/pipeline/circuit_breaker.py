"""Whether a host is in order, rests, or is being tried again: a circuit breaker's three states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from worker.errors import TemporaryError


class Phase(Enum):
    """What a host's visitors may do."""

    OPEN = auto()  # all may go
    RESTING = auto()  # none may
    HALF_OPEN = auto()  # one may, to see
    TRYING = auto()  # that one is under way


@dataclass(frozen=True)
class RestPolicy:
    """When a host is given a rest.

    Attributes:
        failures: In a row, after which it is.
        first_s: Length of the first rest, in seconds.
        factor: By which it grows when a trial fails.
        longest_s: Where it stops growing, in seconds.
    """

    failures: int = 5
    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 30.0


class Health:
    """What is known of one host. Whoever holds it takes care that one thread uses it at a time.

    Args:
        policy: When the host is given a rest.
    """

    def __init__(self, policy: RestPolicy) -> None:
        self._policy = policy
        self._rest_s = 0.0  # the last one's length
        self.phase = Phase.OPEN
        self.failures = 0  # in a row
        self.rests = 0  # so far, which tells a rest's end from that of one before

    @property
    def spotless(self) -> bool:
        """Whether there is nothing to remember."""
        return self.phase is Phase.OPEN and self.failures == 0

    @property
    def may_go(self) -> bool:
        """Whether a visitor may go."""
        return self.phase in (Phase.OPEN, Phase.HALF_OPEN)

    def gone(self) -> bool:
        """Note that a visitor goes; tell whether it is the trial."""
        if self.phase is not Phase.HALF_OPEN:
            return False
        self.phase = Phase.TRYING
        return True

    def answered(self) -> None:
        """Note that the host works, be the answer a picture or a 404."""
        self.phase, self.failures, self._rest_s = Phase.OPEN, 0, 0.0

    def failed(self, error: TemporaryError, *, trial: bool) -> float:
        """Note a failure.

        Args:
            error: What the host's visitor failed with.
            trial: Whether it was the trial.

        Returns:
            Seconds of the rest that begins now; 0 if none does.
        """
        if self.phase is not Phase.OPEN and not trial:
            return 0.0  # it went before the rest, and tells nothing new
        self.failures += 1
        if not trial and self.failures < self._policy.failures:
            return 0.0
        return self._begin_rest(error.retry_after_s or 0.0)

    def _begin_rest(self, asked_s: float) -> float:
        policy = self._policy
        self._rest_s = min(policy.longest_s, self._rest_s * policy.factor or policy.first_s)
        self.phase = Phase.RESTING
        self.rests += 1
        return max(self._rest_s, min(asked_s, policy.longest_s))

    def left(self, *, trial: bool) -> None:
        """Note that a visitor went without having asked the host."""
        if trial:
            self.phase = Phase.HALF_OPEN

    def rested(self, rest: int) -> None:
        """End a rest, named by what `rests` was when it had begun, unless it is over."""
        if self.phase is Phase.RESTING and self.rests == rest:
            self.phase = Phase.HALF_OPEN
