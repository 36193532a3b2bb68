"""From a message that is given up to its dead letter and to what its caller is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.dead_letters import DeadLetter, Incident
from worker.delivery.ledger import Finished
from worker.delivery.stored_result import failure, result_key
from worker.errors import ClipWorkerError, InvalidRequestError, ServiceError

if TYPE_CHECKING:
    from worker.delivery.held import Delivery

REPLAY = "`clip-worker dead` shows and replays it"


def poison(delivery: Delivery) -> ClipWorkerError:
    """What is wrong with a message that was condemned."""
    alone = sum(crash.together == 1 for crash in delivery.crashes)
    return ServiceError(
        f"The task killed its worker {len(delivery.crashes)} times, {alone} of them while it ran "
        f"alone, and is not tried again; {REPLAY}.",
        "POISON",
    )


def unreadable(delivery: Delivery, error: ValueError) -> ClipWorkerError:
    """What is wrong with a message that is none."""
    return InvalidRequestError(
        f"The message {delivery.id} can't be read ({error}); {REPLAY}.", "UNREADABLE"
    )


def bury(delivery: Delivery, reason: ClipWorkerError, now: float) -> bool:
    """File a delivery's dead letter and store its failure; whether it was still held.

    Args:
        delivery: In hand.
        reason: Why.
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
        message=delivery.message.decode(errors="replace"),
    )
    key = result_key(delivery.envelope.id) if delivery.envelope.id else ""
    stored = failure(delivery.envelope, reason)
    held = [delivery.ledger.bury(letter, Finished(tag, key, stored)) for tag in delivery.tags]
    return any(held)
