"""What a worker is doing at the moment, for probes, for its report and for its metrics.

Nothing here waits: not for Redis, not for a lock. A probe is answered while the worker hangs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from worker.health.pulse import Pulse

if TYPE_CHECKING:
    from clip_worker.contract.worker_report import WorkerState

# A loop that stands still for so long, while Redis answers, is stuck. The longest that one may wait
# while nothing is wrong: 30 s for a connection of the pool or for Celery's next attempt to
# reconnect, 5 s for a reply; twice that is certain.
STUCK_AFTER_S = 60.0
# Redis is away after so long without an answer. It is asked every 2 s, and a reply may take 2 s.
AWAY_AFTER_S = 5.0


class State(StrEnum):
    """What a worker is doing."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STUCK = "stuck"
    REDIS_AWAY = "redis_away"


@dataclass(frozen=True)
class Condition:
    """A state at one moment.

    Attributes:
        state: What the worker is doing.
        sentence: The same in words, with the reason and the remedy if something is wrong.
    """

    state: State
    sentence: str

    @property
    def is_live(self) -> bool:
        """Whether a new process would not do better."""
        return self.state != State.STUCK

    @property
    def is_ready(self) -> bool:
        """Whether the worker takes tasks, and Redis answers."""
        return self.state == State.READY


class Health:
    """Gathers the signs of life of a worker process. Threads may share it.

    Args:
        clock: Seconds, monotonic.

    Attributes:
        heartbeat: Beaten by the thread that renews the leases.
        poller: Beaten by the thread that takes messages.
        celery_loop: Beaten by Celery's event loop, where one runs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.heartbeat = Pulse("The heartbeat", clock)
        self.poller = Pulse("The poller", clock)
        self.celery_loop = Pulse("Celery's event loop", clock)
        self._clock = clock
        self._began_at = clock()
        self._phase = Condition(State.STARTING, "The worker starts.")
        self._longest_run_s = math.inf
        self._oldest_run_s: Callable[[], float] = lambda: 0.0
        # When Redis last answered, and since when it does without a gap.
        self._answered_at, self._answers_since = -math.inf, math.inf
        self._redis_error = ""

    def starting(self, step: str) -> None:
        """Note what the start is busy with, as a sentence."""
        self._phase = Condition(State.STARTING, step)

    def watch_forward_passes(self, oldest_run_s: Callable[[], float], longest_s: float) -> None:
        """Take a forward pass that runs for longer than `longest_s` seconds for stuck.

        Args:
            oldest_run_s: Seconds that the longest one under way has been running.
            longest_s: `CLIP_WORKER_HANG_TIMEOUT_S`.
        """
        self._oldest_run_s, self._longest_run_s = oldest_run_s, longest_s

    def serving(self) -> None:
        """Note that tasks are taken from now on."""
        self._phase = Condition(State.READY, "The worker takes tasks.")

    def draining(self) -> None:
        """Note that the worker takes no more tasks, and finishes those in flight."""
        self._phase = Condition(
            State.DRAINING, "The worker stops: it finishes the tasks in flight and takes no more."
        )

    def redis_answered(self) -> None:
        """Note that Redis has just answered."""
        now = self._clock()
        if now - self._answered_at > AWAY_AFTER_S:
            self._answers_since = now
        self._answered_at, self._redis_error = now, ""

    def redis_failed(self, sentence: str) -> None:
        """Note why Redis did not answer."""
        self._redis_error = sentence

    def condition(self) -> Condition:
        """What the worker is doing now."""
        return self._hung_pass() or self._redis_away() or self._stuck_loop() or self._phase

    @property
    def worker_state(self) -> WorkerState:
        """The state for the worker's report; what reads that knows that Redis is there."""
        condition = self._hung_pass() or self._stuck_loop() or self._phase
        return cast("WorkerState", condition.state.value)

    def _hung_pass(self) -> Condition | None:
        running_s = self._oldest_run_s()
        if running_s <= self._longest_run_s:
            return None
        return Condition(
            State.STUCK,
            f"A forward pass has been running for {running_s:.0f} s, more than "
            f"CLIP_WORKER_HANG_TIMEOUT_S={self._longest_run_s:g}; restart the worker.",
        )

    def _redis_away(self) -> Condition | None:
        since = max(self._answered_at, self._began_at)
        silent_s = self._clock() - since
        if silent_s <= AWAY_AFTER_S:
            return None
        reason = f" {self._redis_error}" if self._redis_error else ""
        return Condition(
            State.REDIS_AWAY,
            f"Redis has not answered for {silent_s:.0f} s.{reason} "
            "The worker goes on by itself once Redis is back.",
        )

    def _stuck_loop(self) -> Condition | None:
        if self._phase.state != State.READY:
            return None  # while it drains, Celery's loop waits for the end of that
        answers_s = self._clock() - self._answers_since
        for pulse in (self.heartbeat, self.poller, self.celery_loop):
            if min(pulse.age_s, answers_s) > STUCK_AFTER_S:
                return Condition(
                    State.STUCK,
                    f"{pulse.name} has stood still for {pulse.age_s:.0f} s although Redis "
                    "answers; restart the worker.",
                )
        return None
