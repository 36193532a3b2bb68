"""The ends that a delivery can come to, each at most once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from worker.contract.celery_result import failure, result_key, revoked, success
from worker.delivery.ack_writer import Ack, AckWriter
from worker.delivery.dead_lettering import file_dead_letter
from worker.delivery.task_events import TaskEvents
from worker.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.contract.message_reader import Envelope
    from worker.delivery.in_flight import Delivery, InFlight
    from worker.delivery.lease import Lease
    from worker.delivery.policy import DeliveryPolicy
    from worker.errors import ClipWorkerError

logger = logging.getLogger(__name__)


class Acks:
    """Ends deliveries: stores results, requeues, dead-letters. Threads may share it.

    Args:
        policy: How messages are treated.
        in_flight: All deliveries of this process.
        ended: Called with deliveries that have ended, once Redis knows.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        policy: DeliveryPolicy,
        in_flight: InFlight,
        ended: Callable[[Sequence[Delivery]], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.events = TaskEvents()
        self._policy = policy
        self._in_flight = in_flight
        self._ended = ended
        self._now = now
        self._totals: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._writer = AckWriter(ended)

    def start(self) -> None:
        """Start to write."""
        self._writer.start()

    def stop(self, timeout_s: float) -> None:
        """Write what has ended, for at most so long; give up the rest."""
        self._writer.stop(timeout_s)

    def succeed(self, delivery: Delivery, result_json: str) -> None:
        """End a delivery with a result, given as JSON."""
        self.succeed_all([(delivery, result_json)])

    def succeed_all(self, done: Sequence[tuple[Delivery, str]]) -> None:
        """End deliveries with their results, given as JSON."""
        results = dict(done)
        claimed = self._in_flight.claim_all(list(results))
        self._count(claimed)
        if self.events.wanted or logger.isEnabledFor(logging.INFO):
            for delivery in claimed:
                self._tell_of_success(delivery, results[delivery])
        acks = [self._stored(delivery, success, results[delivery]) for delivery in claimed]
        if len(acks) == len(self._in_flight) == 1:  # nobody waits; waking a thread takes time
            self._writer.write_alone(acks[0])
        else:
            self._writer.add(acks)

    def _tell_of_success(self, delivery: Delivery, result_json: str) -> None:
        taken_s = time.monotonic() - delivery.taken_at
        # Celery's own words, which its users look for.
        logger.info("Task %s[%s] succeeded in %.3fs", *delivery.name, taken_s)
        self.events.succeeded(delivery, result_json, taken_s)

    def fail(self, delivery: Delivery, error: BaseException) -> None:
        """End a delivery with an error."""
        if self._claim(delivery):
            self._count([delivery])
            logger.info("Task %s[%s] failed: %r", *delivery.name, error)
            self.events.failed(delivery, error)
            self._writer.add([self._stored(delivery, failure, error)])

    def totals(self) -> dict[str, int]:
        """How many tasks have succeeded or failed here, by name; Celery counts its own."""
        with self._counting:
            return dict(self._totals)

    def _count(self, deliveries: Iterable[Delivery]) -> None:
        with self._counting:
            self._totals.update(delivery.envelope.task for delivery in deliveries)

    def acknowledge(self, delivery: Delivery) -> None:
        """End a delivery whose result Celery has stored."""
        if self._claim(delivery):
            self._writer.add([(delivery, "", "")])

    def give_back(self, delivery: Delivery) -> None:
        """Requeue a delivery, for any worker to take next."""
        if self._claim(delivery):
            self.requeue([delivery])

    def park(self, delivery: Delivery, patience_s: float) -> bool:
        """Requeue a delivery after a pause that grows, for a worker that knows its task.

        Args:
            delivery: Whose task is not registered here.
            patience_s: How long it is tried, by any number of workers.

        Returns:
            False if that time has passed: then nothing was done.
        """
        if not delivery.queue.park(delivery.lease, delivery.tags, delivery.id, patience_s):
            return False
        if self._claim(delivery):
            self._ended([delivery])
        return True

    def dead_letter(
        self, delivery: Delivery, reason: ClipWorkerError, told: BaseException | None = None
    ) -> None:
        """End a delivery as a dead letter, and store its failure under its id.

        Args:
            delivery: In flight.
            reason: Why, for the operator.
            told: What its caller gets, if that is another error.
        """
        if self._claim(delivery):
            logger.error("Task %s[%s] became a dead letter: %s", *delivery.name, reason)
            self._tell_dependents(delivery, told or reason)
            self.events.failed(delivery, told or reason)
            self._file(delivery, reason, told or reason)
            self._ended([delivery])

    def reject(self, delivery: Delivery) -> None:
        """End a delivery that a task has rejected, as a dead letter; its result is the task's."""
        if self._claim(delivery):
            reason = ServiceError("The task raised Reject, or Celery refused it.", "REJECTED")
            logger.warning("Task %s[%s] became a dead letter: %s", *delivery.name, reason)
            self._file(delivery, reason, None)
            self._ended([delivery])

    def drop(self, delivery: Delivery) -> None:
        """Forget a delivery that another worker has by now."""
        if self._claim(delivery):
            self._ended([delivery])

    def is_wanted(self, delivery: Delivery) -> bool:
        """Whether it is to run; if it was revoked or has expired it ends here."""
        expires = delivery.envelope.expires()
        expired = expires is not None and self._now() > expires
        if not expired and delivery.id not in self._policy.revoked:
            return True
        if self._claim(delivery):
            reason = "expired" if expired else "revoked"
            logger.info("Task %s[%s] is not run: %s", *delivery.name, reason)
            self.events.revoked(delivery, expired=expired)
            self._writer.add([self._stored(delivery, revoked, reason)])
        return False

    def _tell_dependents(self, delivery: Delivery, error: BaseException) -> None:
        try:
            self._policy.tell_dependents(delivery, error)
        except Exception:  # it must be given up all the same
            logger.exception("Those who depend on task %s were not told", delivery.id)

    def _file(
        self, delivery: Delivery, reason: ClipWorkerError, told: BaseException | None
    ) -> None:
        try:
            file_dead_letter(delivery, reason, told, self._now())
        except RedisError as error:  # the heartbeat requeues it
            logger.warning("Can't file a dead letter yet because Redis fails: %s", error)

    def _stored(
        self, delivery: Delivery, state: Callable[[Envelope, Any], str], what: object
    ) -> Ack:
        ignore = delivery.envelope.headers.get("ignore_result")
        if self._policy.ignore_result if ignore is None else ignore:
            return delivery, "", ""
        return delivery, result_key(delivery.id), state(delivery.envelope, what)

    def _claim(self, delivery: Delivery) -> bool:
        """Whether this is its first end."""
        return self._in_flight.claim(delivery)

    def requeue(self, deliveries: Sequence[Delivery]) -> None:
        """Requeue deliveries that have been claimed, to the head of their queues in their order."""
        self.requeue_unseen(deliveries)
        self._ended(deliveries)

    def requeue_unseen(self, deliveries: Sequence[Delivery]) -> None:
        """Requeue deliveries that were never in flight."""
        by_lease: dict[Lease, list[str]] = {}
        for delivery in deliveries:
            by_lease.setdefault(delivery.lease, []).extend(delivery.tags)
        for lease, tags in by_lease.items():
            try:
                # The last taken goes back first, so that the queue's order stays.
                lease.queue.requeue(lease, tags[::-1])
            except RedisError as error:  # the heartbeat does it later
                logger.warning("%d tasks are requeued later than they should: %s", len(tags), error)
