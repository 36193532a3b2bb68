"""What the queue consumer is given: its handler and its policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from clip_worker.errors import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from clip_worker.contract.signatures import SignatureCheck
    from worker.delivery.delivery import Delivery, Uses


class Handler(Protocol):
    """What does the work.

    It ends each delivery some time, by `QueueConsumer.acks`, from any thread and in any order.
    """

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Begin with plain tasks; called on the poller's thread, so it must not block."""

    def resting(self) -> int:
        """How many deliveries wait for a time of their own, and take no room."""

    def is_full(self) -> bool:
        """Whether it could not begin with any more: memory for images is taken."""

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
        size_of: Units of work in a message; each takes up room.
        revoked: Ids of tasks that must not run; it changes.
        tell_dependents: Tells whoever depends on a task that is given up (its errbacks, its chord,
            the rest of its chain) of the error.
        is_registered: Whether the application has a task of this name.
        task_of: The registered task of a name, whose signals are sent; None for none.
        uses_of: What a task uses in Redis, which is deleted with its last user.
        result_ttl_of: How long a task's result is to be kept, in seconds; None for as usual.
        webhook_of: URL that a task's end is posted to; empty for none, and where this worker can't
            post.
        signatures: Verifies the messages; None to take messages without a signature.
        everything_in_celery: Whether Celery runs all tasks, since it is configured to do more with
            them than the handler does.
    """

    tasks: Collection[str]
    max_deliveries: int
    task_timeout_s: float
    size_of: Callable[[Delivery], int] = lambda _delivery: 1
    revoked: Collection[str] = ()
    tell_dependents: Callable[[Delivery, BaseException], None] = lambda _delivery, _error: None
    is_registered: Callable[[str], bool] = lambda _name: True
    task_of: Callable[[str], Any] = lambda _name: None
    uses_of: Callable[[Delivery], Uses] = lambda _delivery: ()
    result_ttl_of: Callable[[Delivery], int | None] = lambda _delivery: None
    webhook_of: Callable[[Delivery], str] = lambda _delivery: ""
    signatures: SignatureCheck | None = None
    everything_in_celery: bool = False


def timeout_error(limit_s: float) -> TemporaryError:
    """What a task fails with that made no progress for too long."""
    return TemporaryError(
        f"The task made no progress for {limit_s:g} s, the longest that this worker waits for that "
        "(CLIP_WORKER_TASK_TIMEOUT_S).",
        "TASK_TIMEOUT",
    )
