"""The names that one queue has in Redis."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "clip-worker"
# kombu keeps a message of priority n in the list of the nearest step below, the most urgent first.
PRIORITY_STEPS = (0, 3, 6, 9)
PRIORITY_SEPARATOR = "\x06\x16"


@dataclass(frozen=True)
class QueueKeys:
    """Everything that belongs to one Celery queue.

    Attributes:
        queue: The queue's name, which is also the list that producers push to.
    """

    queue: str

    @property
    def lists(self) -> tuple[str, ...]:
        """Where producers put messages, the most urgent list first."""
        steps = (f"{self.queue}{PRIORITY_SEPARATOR}{step}" for step in PRIORITY_STEPS[1:])
        return (self.queue, *steps)

    @property
    def arrived(self) -> tuple[str, ...]:
        """For each of `lists` where the message goes that an idle worker was waiting for."""
        return tuple(self._named(f"arrived:{step}") for step in PRIORITY_STEPS)

    @property
    def returned(self) -> str:
        """List of entries that came back from a crash."""
        return self._named("returned")

    @property
    def unacked(self) -> str:
        """Hash, tag to entry: what workers have in hand."""
        return self._named("unacked")

    @property
    def leases(self) -> str:
        """Sorted set, tag to the Unix time at which the entry goes back."""
        return self._named("leases")

    @property
    def started(self) -> str:
        """Hash, tag to the line that goes into the entry's history if the worker dies."""
        return self._named("started")

    @property
    def unknown(self) -> str:
        """Sorted set, id of a task that some worker did not know to the Unix time of that."""
        return self._named("unknown")

    @property
    def tick(self) -> str:
        """String, the Unix time at which some worker last looked for leases that ran out."""
        return self._named("tick")

    def _named(self, what: str) -> str:
        return f"{PREFIX}:{self.queue}:{what}"
