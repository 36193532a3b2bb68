"""The seam between fetch and decode, where somebody may hold a picture back or turn it away.

Decoding a stranger's bytes is what can end the process, so whoever counts deliveries, or lets a
suspect decode alone, stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from worker.errors import ClipWorkerError
from worker.pipeline.job import Job

Go = Callable[[], None]
Refuse = Callable[[ClipWorkerError], None]


class Gate(Protocol):
    """Decides when a job whose bytes are there is decoded, and whether."""

    def enter(self, job: Job, go: Go, refuse: Refuse) -> None:
        """Take a job; call one of the two, once, now or later, from any thread.

        It runs on a fetch thread, which waits for it to return. What it raises fails the job.

        Args:
            job: Its bytes have been fetched.
            go: Hands the job on to the decoders, and returns at once.
            refuse: Ends the job's future with an error.
        """

    def check(self, job: Job) -> None:
        """Hear that a job which has gone through is about to be decoded, or put into a batch.

        A process may have stood still in between. It is asked on the thread that is to begin, and
        may take its time.

        Raises:
            ClipWorkerError: It must not be begun any more.
        """

    def leave(self, job: Job) -> None:
        """Hear that a job's future has ended; called once for every job, entered or not.

        The job may not have gone through: it may have failed before, or was abandoned while it
        was held. `go` and `refuse` do nothing from then on.
        """


class OpenGate:
    """Lets everything through at once."""

    def enter(self, job: Job, go: Go, refuse: Refuse) -> None:  # noqa: ARG002  # it turns none away
        """Go."""
        go()

    def check(self, job: Job) -> None:
        """Nothing can have changed."""

    def leave(self, job: Job) -> None:
        """Nothing was held."""
