"""Which messages become dead letters, and what these say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_worker.contract.message_reader import UnauthenticMessageError
from clip_worker.contract.signatures import BAD_SIGNATURE
from clip_worker.errors import ClipWorkerError, InvalidRequestError, ServiceError
from clip_worker.quoting import quote
from clip_worker.redis.dead_letters import TOO_LARGE, UNREADABLE, DeadLetter, Incident
from worker.delivery.oversized import OversizedMessageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.delivery.delivery import Crash, Delivery

REPLAY = "`clip-worker dead` shows and replays it"
UNKNOWN_TASK = "UNKNOWN_TASK"  # code of a message whose task no worker of its queue knows


def is_condemned(crashes: Sequence[Crash], max_deliveries: int) -> bool:
    """Whether a message with this history is not to be tried again.

    Only a message that ran alone when its worker died is: no other can be to blame for that.

    Args:
        crashes: Newest first.
        max_deliveries: After so many crashes, if it was alone in the last.
    """
    return len(crashes) >= max_deliveries and crashes[0].together == 1


def poison(delivery: Delivery) -> ClipWorkerError:
    """What is wrong with a message that was condemned."""
    alone = sum(crash.together == 1 for crash in delivery.crashes)
    return ServiceError(
        f"The task killed its worker {len(delivery.crashes)} times, {alone} of them while it ran "
        f"alone, and is not tried again; {REPLAY}.",
        "POISON",
    )


def unreadable(error: BaseException) -> ClipWorkerError:
    """What is wrong with a message that can't be read or verified, or that Celery refuses."""
    if isinstance(error, OversizedMessageError):
        return InvalidRequestError(f"The message was refused: {error}.", TOO_LARGE)
    if isinstance(error, UnauthenticMessageError):
        return InvalidRequestError(f"The message was refused: {error}.", BAD_SIGNATURE)
    return InvalidRequestError(f"The message can't be read: {error}.", UNREADABLE)


def rejected() -> ClipWorkerError:
    """What is wrong with a message whose task rejects it."""
    return ServiceError("The task raised Reject, or Celery refused it.", "REJECTED")


def unknown_task(delivery: Delivery) -> ClipWorkerError:
    """What is wrong with a message of a task that no worker of its queue knows."""
    return InvalidRequestError(
        f"No worker of the queue {delivery.queue.name!r} knows the task "
        f"{quote(delivery.envelope.task)}. Send it to the queue of the workers that do; {REPLAY}.",
        UNKNOWN_TASK,
    )


def dead_letter_of(delivery: Delivery, reason: ClipWorkerError, now: float) -> DeadLetter:
    """A delivery as a dead letter, given up at Unix time `now`."""
    return DeadLetter(
        id=delivery.id,
        task=delivery.envelope.task,
        reason=reason.message,
        code=reason.code,
        died_at=now,
        history=tuple(
            Incident(kind="crash", at=crash.at, worker=crash.worker, together=crash.together)
            for crash in reversed(delivery.crashes)
        ),
        message=delivery.message.decode(errors="backslashreplace"),
    )
