"""The pipeline's gate on the queue path: what may be decoded together, and whether at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.delivery.in_flight import Delivery
from worker.errors import ExpiredError, TemporaryError

if TYPE_CHECKING:
    from worker.delivery.queue_consumer import QueueConsumer
    from worker.pipeline.gate import Go, Refuse
    from worker.pipeline.job import Job


class IsolationGate:
    """Lets a picture through when its message may be in the making.

    Args:
        path: Where messages come from.
    """

    def __init__(self, consumer: QueueConsumer) -> None:
        self._consumer = consumer

    def enter(self, job: Job, go: Go, refuse: Refuse) -> None:
        """See `worker.pipeline.gate.Gate.enter`; a job whose ticket is no delivery goes at once."""
        delivery = job.ticket
        if not isinstance(delivery, Delivery):
            go()
        elif delivery.ended or not self._consumer.is_wanted(delivery):
            refuse(ExpiredError("The task was revoked, or ended, before it was run.", "REVOKED"))
        else:
            delivery.progress()  # its bytes are there
            self._consumer.quarantine.enter(delivery, go, lambda: self._lost(delivery, refuse))

    def check(self, job: Job) -> None:
        """See `worker.pipeline.gate.Gate.check`: the message must still be this worker's."""
        if isinstance(job.ticket, Delivery) and not self._consumer.heartbeat.holds(job.ticket):
            raise _lost()

    def leave(self, job: Job) -> None:
        """Nothing: a message leaves when Redis has its end."""

    def _lost(self, delivery: Delivery, refuse: Refuse) -> None:
        self._consumer.drop(delivery)
        refuse(_lost())


def _lost() -> TemporaryError:
    return TemporaryError("The message has become another worker's.", "STOPPING")
