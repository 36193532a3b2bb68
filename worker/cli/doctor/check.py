"""A check, and how it is run: within its time limit, whatever it waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from clip_worker.quoting import redacted
from worker.cli.doctor.finding import Finding, problem

LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        group: Such as `redis`.
        name: Of the check in its group.
        look: Looks, and says what it found.
        limit_s: After so many seconds it counts as hung.
    """

    group: str
    name: str
    look: Callable[[], Finding]
    limit_s: float = LIMIT_S

    def run(self) -> Finding:
        """Look, on a thread that is left alone if it does not come back in time."""
        findings: SimpleQueue[Finding] = SimpleQueue()
        thread = threading.Thread(
            target=lambda: findings.put(self._found()), name=f"check-{self.name}", daemon=True
        )
        thread.start()
        try:
            return findings.get(timeout=self.limit_s)
        except Empty:
            return problem(
                f"This check did not end within {self.limit_s:g} s.",
                "Look for what hangs: a name server, a network file system, a driver or Redis.",
            )

    def _found(self) -> Finding:
        try:
            return self.look()
        except Exception as error:  # noqa: BLE001  # one check must not end the others
            reason = redacted(" ".join(str(error).split())) or "no message"
            return problem(
                f"This check failed with {type(error).__name__}: {reason}.",
                "Report it as a bug, with this line.",
            )
