"""Whether a host may be asked: a circuit breaker.

It is closed while the host works. After several failures in a row it opens: the host rests. When
the rest is over one fetch tries the host (half open): an answer closes the breaker, another failure
begins a longer rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from clip_worker.errors import TemporaryError


@dataclass(frozen=True)
class RestPolicy:
    """When and for how long a host rests.

    Attributes:
        failures: In a row, after which it rests.
        first_s: Length of the first rest, in seconds.
        factor: By which the rest grows when a trial fails.
        longest_s: Longest rest, in seconds.
    """

    failures: int = 5
    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 30.0


class CircuitBreaker:
    """Of one host. For one thread at a time.

    Args:
        policy: When the host rests.

    Attributes:
        rests_until_s: When the last rest ends or ended (monotonic).
        error: The last failure.
    """

    def __init__(self, policy: RestPolicy) -> None:
        self.rests_until_s = -math.inf
        self.error: TemporaryError | None = None
        self._policy = policy
        self._failures = 0  # in a row
        self._rest_s = 0.0  # length of the last rest, 0 while it is closed
        self._trial: object = None

    @property
    def is_closed(self) -> bool:
        """Whether the host is believed to work."""
        return not self._rest_s

    @property
    def has_failed(self) -> bool:
        """Whether the host has failed since its last answer."""
        return self._failures > 0

    def allows(self, now_s: float) -> bool:
        """Whether a fetch may start."""
        return self.is_closed or (self._trial is None and now_s >= self.rests_until_s)

    def started(self, fetch: object) -> None:
        """Note that a fetch has started."""
        if not self.is_closed:
            self._trial = fetch

    def answered(self) -> None:
        """Note that the host works, be its answer an image or a 404."""
        self._failures, self._rest_s, self._trial = 0, 0.0, None

    def failed(self, fetch: object, error: TemporaryError, now_s: float) -> float:
        """Note that a fetch has failed.

        Returns:
            Seconds of the rest that begins now; 0 if none does.
        """
        self.error = error
        is_trial = self._trial is fetch
        if not (self.is_closed or is_trial):
            return 0.0  # it started before the rest, and says nothing new
        self._failures += 1
        if not is_trial and self._failures < self._policy.failures:
            return 0.0
        self._trial = None
        longest_s = self._policy.longest_s
        self._rest_s = min(longest_s, self._rest_s * self._policy.factor or self._policy.first_s)
        rest_s = max(self._rest_s, min(error.retry_after_s or 0.0, longest_s))
        self.rests_until_s = now_s + rest_s
        return rest_s

    def not_asked(self, fetch: object) -> None:
        """Note that a fetch has ended without asking the host: if it was the trial, another is."""
        if self._trial is fetch:
            self._trial = None
