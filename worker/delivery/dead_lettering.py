"""From a message that is given up to its dead letter and to what its caller is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.contract.celery_result import failure, result_key
from worker.delivery.redis_queue import Finished
from worker.errors import ClipWorkerError, InvalidRequestError, ServiceError
from worker.quoting import quote
from worker.redis.dead_letters import UNREADABLE, DeadLetter, Incident

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.delivery.in_flight import Delivery
    from worker.delivery.unacked_entry import Crash

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
    """What is wrong with a message that can't be read, or that Celery refuses."""
    return InvalidRequestError(f"The message can't be read: {error}.", UNREADABLE)


def unknown_task(delivery: Delivery) -> ClipWorkerError:
    """What is wrong with a message of a task that no worker of its queue knows."""
    return InvalidRequestError(
        f"No worker of the queue {delivery.queue.name!r} knows the task "
        f"{quote(delivery.envelope.task)}. Send it to the queue of the workers that do; {REPLAY}.",
        UNKNOWN_TASK,
    )


def file_dead_letter(
    delivery: Delivery, reason: ClipWorkerError, told: BaseException | None, now: float
) -> bool:
    """File a delivery's dead letter and store its failure; whether it was still held.

    Args:
        delivery: In flight.
        reason: Why.
        told: What is stored as the task's failure; None to store nothing.
        now: Unix time in seconds.
    """
    history = tuple(
        Incident(kind="crash", at=crash.at, worker=crash.worker, together=crash.together)
        for crash in reversed(delivery.crashes)
    )
    letter = DeadLetter(
        id=delivery.id,
        task=delivery.envelope.task,
        reason=reason.message,
        code=reason.code,
        died_at=now,
        history=history,
        message=delivery.message.decode(errors="backslashreplace"),
    )
    key, stored = "", ""
    if told is not None and delivery.envelope.id:
        key = result_key(delivery.envelope.id)
        stored = failure(delivery.envelope, told)
    done = [Finished(tag, key, stored) for tag in delivery.tags]
    return any(delivery.queue.finish(delivery.lease, done, letter))
