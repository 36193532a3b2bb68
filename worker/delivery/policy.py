"""What the queue consumer is given: its handler, its policy, Celery's event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from worker.delivery.in_flight import Delivery
    from worker.errors import ClipWorkerError


class Handler(Protocol):
    """What does the work.

    It ends each delivery some time, by `QueueConsumer.succeed`, `fail` or `give_back`, from any
    thread and in any order.
    """

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Begin with plain tasks; called on the poller's thread, so it must not block."""

    def resting(self) -> int:
        """How many deliveries wait for a time of their own, and take no room."""

    def preparation_s(self) -> float:
        """How long a delivery takes until the model may have it, on average, in seconds."""

    def abandon(self) -> None:
        """End nothing more: what is unfinished was given back."""


@dataclass(frozen=True)
class DeliveryPolicy:
    """How the queue consumer treats messages.

    Attributes:
        tasks: Names of the tasks that the handler takes.
        max_deliveries: Crashes after which a message that ran alone becomes a dead letter.
        task_timeout_s: Longest time in flight without progress.
        timeout_error: Makes the error of a task that made none for longer.
        size_of: Units of work in a message; each takes up room.
        revoked: Ids of tasks that must not run; it changes.
        ignore_result: Whether no result is stored where the message does not say.
        tell_dependents: Tells whoever depends on a task that is given up (its errbacks, its chord,
            the rest of its chain) of the error.
        is_registered: Whether the application has a task of this name.
        namespace: Beginning of the names that are nobody else's: one that is not registered is not
            left to other workers.
        everything_standard: Whether Celery runs all tasks, since it is configured to do more with
            them than the handler does.
    """

    tasks: Collection[str]
    max_deliveries: int
    task_timeout_s: float
    timeout_error: Callable[[], ClipWorkerError]
    size_of: Callable[[Delivery], int] = lambda _delivery: 1
    revoked: Collection[str] = ()
    ignore_result: bool = False
    tell_dependents: Callable[[Delivery, BaseException], None] = lambda _delivery, _error: None
    is_registered: Callable[[str], bool] = lambda _name: True
    namespace: str = "clip."
    everything_standard: bool = False


@dataclass(frozen=True)
class CeleryLoop:
    """Celery's consumer between two reconnects.

    Attributes:
        hub: kombu's event loop.
        on_message: Takes a `kombu.Message`, on the loop's thread.
        dispatcher: Sends task events; None if there is none.
        is_limited: Whether a task of this name has a rate limit.
    """

    hub: Any
    on_message: Callable[[Any], None]
    dispatcher: Any
    is_limited: Callable[[str], bool]
