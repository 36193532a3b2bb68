"""When a worker that ended is started again, and when that is given up."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from worker.cli.output.usage_error import WRONG_INPUT_STATUS
from worker.runtime.watchdog import DEVICE_LOST, HUNG

STEADY_S = 60.0  # a worker that ran for so long is started again at once
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
MOST_ATTEMPTS = 3  # to become ready
FAILURE_STATUS = 1  # of a worker that says in a sentence why it can't start

_REASONS = {
    HUNG: "ended itself because a forward pass hung (exit status 70)",
    DEVICE_LOST: "ended itself because its device failed (exit status 71)",
    -signal.SIGKILL: "was killed by SIGKILL, as when memory runs out",
}


@dataclass
class Restarts:
    """How often one worker has ended.

    Attributes:
        failures: How often in a row it ended before it had run for `STEADY_S`.
        attempts: How often in a row it ended before it was ready.
        was_ready: Whether it has ever been ready.
    """

    failures: int = 0
    attempts: int = 0
    was_ready: bool = False

    def count(self, *, ready: bool, ran_s: float) -> None:
        """Count an end.

        Args:
            ready: Whether the worker had become ready.
            ran_s: Seconds from its start to its end.
        """
        self.was_ready = self.was_ready or ready
        self.attempts = 0 if ready else self.attempts + 1
        self.failures = 0 if ready and ran_s >= STEADY_S else self.failures + 1

    @property
    def pause_s(self) -> float:
        """Seconds until it is started again: none, or 1, 2, 4 and so on up to a minute."""
        if not self.failures:
            return 0.0
        return min(FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 16), LONGEST_PAUSE_S)

    def are_given_up(self, code: int, *, any_was_ready: bool, others_may_serve: bool) -> bool:
        """Whether to stop all workers instead of starting this one again.

        A worker that once was ready is tried for as long as others may serve the queue: one GPU
        that fails must not stop the others.

        Args:
            code: How it ended, as `subprocess.Popen.returncode` has it.
            any_was_ready: Whether any of the workers has ever been ready.
            others_may_serve: Whether any of the others has not failed as often.
        """
        if code == WRONG_INPUT_STATUS:
            return True
        if code == FAILURE_STATUS and not any_was_ready:
            return True  # as one worker alone would: it has said why
        return self.attempts >= MOST_ATTEMPTS and not (self.was_ready and others_may_serve)


def reason(code: int) -> str:
    """How a worker ended, in words.

    Args:
        code: As `subprocess.Popen.returncode` has it: negative for a signal.
    """
    if code in _REASONS:
        return _REASONS[code]
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with status {code}"


def exit_status(code: int) -> int:
    """The exit status that a shell shows for a process that ended so."""
    return code if code >= 0 else 128 - code
