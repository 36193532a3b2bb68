"""The ends that a delivery can come to, each at most once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from clip_worker.contract.celery_result import failure, result_key, revoked, success
from clip_worker.contract.webhooks import success_body
from worker.delivery.ack_writer import AckWriter
from worker.delivery.celery_bridge import message_of
from worker.delivery.dead_lettering import dead_letter_of, rejected, unreadable
from worker.delivery.delivery import Ack
from worker.delivery.task_events import TaskEvents
from worker.delivery.task_signals import TaskSignals
from worker.metrics.codes import OTHER, code_of
from worker.metrics.instruments import Instruments
from worker.webhooks.post import WebhookPost, error_body, revoked_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_worker.contract.message_reader import Envelope
    from clip_worker.errors import ClipWorkerError
    from worker.delivery.delivery import Delivery, Lease
    from worker.delivery.in_flight import InFlight
    from worker.delivery.policy import DeliveryPolicy
    from worker.metrics.instruments import TaskOutcome

logger = logging.getLogger(__name__)

EVENT_BODIES: dict[Callable[[Envelope, Any], str], Callable[[str, Any], str]] = {
    success: success_body,
    failure: error_body,
    revoked: revoked_body,
}


class Acks:
    """Ends deliveries: stores results, requeues, dead-letters. Threads may share it.

    Args:
        policy: How messages are treated.
        in_flight: All deliveries of this process.
        ended: Called with deliveries that have ended, once Redis knows.
        instruments: Count how they ended.
        now: Unix time in seconds.

    Attributes:
        writer: Has to be started, and stopped last.
        events: Sends task events.
        signals: Sends task signals.
    """

    def __init__(
        self,
        policy: DeliveryPolicy,
        in_flight: InFlight,
        ended: Callable[[Sequence[Delivery]], None],
        instruments: Instruments | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.writer = AckWriter(ended)
        self.events = TaskEvents()
        self.signals = TaskSignals(policy.task_of, partial(message_of, acks=self))
        self._policy = policy
        self._in_flight = in_flight
        self._ended = ended
        self._instruments = instruments or Instruments()
        self._now = now
        self._totals: Counter[str] = Counter()
        self._counting = threading.Lock()

    def succeed(self, delivery: Delivery, result_json: str) -> None:
        """End a delivery with a result, given as JSON."""
        self.succeed_all([(delivery, result_json)])

    def succeed_all(self, done: Sequence[tuple[Delivery, str]]) -> None:
        """End deliveries with their results, given as JSON."""
        results = dict(done)
        claimed = self._in_flight.claim(results)
        self._count(claimed, "succeeded")
        if self.events.wanted or self.signals.wanted or logger.isEnabledFor(logging.INFO):
            for delivery in claimed:
                self._report_success(delivery, results[delivery])
        self.writer.add([self._ack(each, success, results[each]) for each in claimed])

    def _report_success(self, delivery: Delivery, result_json: str) -> None:
        taken_s = time.monotonic() - delivery.taken_at
        # Celery's own words, which its users look for.
        logger.info(
            "Task %s[%s] succeeded in %.3fs", *delivery.name, taken_s, extra=delivery.log_fields()
        )
        self.events.succeeded(delivery, result_json, taken_s)
        self.signals.succeeded(delivery, result_json)

    def fail(self, delivery: Delivery, error: BaseException) -> None:
        """End a delivery with an error."""
        if self._claim(delivery):
            self._count([delivery], "failed", code_of(error))
            fields = delivery.log_fields(code_of(error))
            logger.info("Task %s[%s] failed: %r", *delivery.name, error, extra=fields)
            self.events.failed(delivery, error)
            self.signals.failed(delivery, error)
            self.writer.add([self._ack(delivery, failure, error)])

    def totals(self) -> dict[str, int]:
        """How many tasks have succeeded or failed here, by name; Celery counts its own."""
        with self._counting:
            return dict(self._totals)

    def _count(self, deliveries: Sequence[Delivery], outcome: TaskOutcome, code: str = "") -> None:
        for delivery in deliveries:
            delivery.outcome, delivery.code = outcome, code
        counts = Counter((delivery.lease, delivery.envelope.task) for delivery in deliveries)
        for (lease, task), count in counts.items():
            known = task if self._policy.is_registered(task) else OTHER
            self._instruments.task_ended(lease.queue.name, known, outcome, code, count)
            if outcome in ("succeeded", "failed"):
                with self._counting:
                    self._totals[task] += count

    def acknowledge(self, delivery: Delivery) -> None:
        """End a delivery whose result Celery has stored."""
        if self._claim(delivery):
            if not delivery.begun:  # else `worker.tasks` has counted it
                code = "EXPIRED" if self._has_expired(delivery) else "REVOKED"
                self._count([delivery], "revoked", code)
            post = self._post(delivery, lambda: delivery.event_body or self._not_run(delivery))
            self.writer.add([Ack(delivery, uses=self._policy.uses_of(delivery), post=post)])

    def acknowledge_copies(self, copies: Sequence[Delivery]) -> None:
        """End deliveries of messages that are in flight already: their results come from those."""
        self.writer.add([Ack(copy) for copy in copies])

    def give_back(self, delivery: Delivery) -> None:
        """Requeue a delivery, for any worker to take next."""
        self.give_back_all([delivery])

    def give_back_all(self, deliveries: Sequence[Delivery], *, waiting: bool = False) -> int:
        """Requeue deliveries, to the head of their queues in their order; how many.

        Args:
            deliveries: In flight.
            waiting: Leave out what has begun.
        """
        claimed = self._in_flight.claim(deliveries, waiting=waiting)
        self._count(claimed, "requeued")
        self.requeue(claimed)
        self._ended(claimed)
        return len(claimed)

    def requeue(self, deliveries: Sequence[Delivery]) -> None:
        """Put deliveries back, those too that were never in flight."""
        by_lease: dict[Lease, list[str]] = {}
        for delivery in reversed(deliveries):  # the last taken first, so that the order stays
            by_lease.setdefault(delivery.lease, []).append(delivery.tag)
        for lease, tags in by_lease.items():
            try:
                lease.queue.requeue(lease, tags)
            except RedisError as error:  # the heartbeat does it later
                logger.warning("%d tasks are requeued later than they should: %s", len(tags), error)

    def park(self, delivery: Delivery, patience_s: float) -> bool:
        """Requeue a delivery after a pause that grows, for a worker that knows its task.

        Args:
            delivery: Whose task is not registered here.
            patience_s: How long it is tried, by any number of workers.

        Returns:
            False if that time has passed: then nothing was done.
        """
        is_parked = delivery.queue.park(delivery, patience_s)
        if is_parked:
            self.drop(delivery)
        return is_parked

    def drop(self, delivery: Delivery) -> None:
        """Forget a delivery that this worker does not hold any more."""
        if self._claim(delivery):
            self._count([delivery], "requeued")
            self._ended([delivery])

    def dead_letter(
        self, delivery: Delivery, reason: ClipWorkerError, caller_error: BaseException | None = None
    ) -> None:
        """End a delivery as a dead letter, and store its failure under its id.

        Args:
            delivery: In flight.
            reason: Why, for the operator.
            caller_error: What its caller gets, if that is another error.
        """
        error = caller_error or reason
        if self._claim(delivery):
            self._tell_dependents(delivery, error)
            self.events.failed(delivery, error)
            stored = failure(delivery.envelope, error) if delivery.envelope.id else ""
            self._file(delivery, reason, stored)

    def refuse(self, delivery: Delivery, error: BaseException) -> None:
        """End a delivery whose message can't be read, or that Celery can't run."""
        self.signals.rejected(delivery, error)
        self.dead_letter(delivery, unreadable(error))

    def reject(self, delivery: Delivery) -> None:
        """End a delivery that a task has rejected, as a dead letter; its result is the task's."""
        if self._claim(delivery):
            self._file(delivery, rejected(), "")

    def _file(self, delivery: Delivery, reason: ClipWorkerError, stored: str) -> None:
        fields = delivery.log_fields(reason.code)
        logger.error("Task %s[%s] became a dead letter: %s", *delivery.name, reason, extra=fields)
        key = result_key(delivery.id) if stored else ""
        post = self._post(delivery, partial(error_body, delivery.id, reason))
        ack = Ack(delivery, key, stored, self._policy.result_ttl_of(delivery), post=post)
        letter = dead_letter_of(delivery, reason, self._now())
        try:
            delivery.queue.finish(delivery.lease, [ack], letter)
            self._count([delivery], "dead_letter", reason.code)
        except RedisError as error:  # the heartbeat requeues it
            logger.warning("Can't file a dead letter yet because Redis fails: %s", error)
        self._ended([delivery])

    def _tell_dependents(self, delivery: Delivery, error: BaseException) -> None:
        try:
            self._policy.tell_dependents(delivery, error)
        except Exception:  # it is given up nevertheless
            logger.exception(
                "Can't tell those who depend on task %s[%s]",
                *delivery.name,
                extra=delivery.log_fields(),
            )

    def is_wanted(self, delivery: Delivery) -> bool:
        """Whether it is to run; if it was revoked or has expired it ends here."""
        expired = self._has_expired(delivery)
        if not expired and delivery.id not in self._policy.revoked:
            return True
        if self._claim(delivery):
            reason = "expired" if expired else "revoked"
            self._count([delivery], "revoked", reason.upper())
            fields = delivery.log_fields(reason.upper())
            logger.info("Task %s[%s] is not run: %s", *delivery.name, reason, extra=fields)
            self.events.revoked(delivery, expired=expired)
            self.signals.revoked(delivery, expired=expired)
            self.writer.add([self._ack(delivery, revoked, reason)])
        return False

    def _has_expired(self, delivery: Delivery) -> bool:
        expires = delivery.envelope.expires()
        return expires is not None and self._now() > expires

    def _claim(self, delivery: Delivery) -> bool:
        """Whether this is its first end."""
        return bool(self._in_flight.claim([delivery]))

    def _ack(self, delivery: Delivery, state: Callable[[Envelope, Any], str], what: object) -> Ack:
        uses = self._policy.uses_of(delivery)
        post = self._post(delivery, partial(EVENT_BODIES[state], delivery.id, what))
        if delivery.envelope.headers.get("ignore_result"):
            return Ack(delivery, uses=uses, post=post)
        stored, ttl_s = state(delivery.envelope, what), self._policy.result_ttl_of(delivery)
        return Ack(delivery, result_key(delivery.id), stored, ttl_s, uses, post)

    def _post(self, delivery: Delivery, body: Callable[[], str]) -> WebhookPost | None:
        url = self._policy.webhook_of(delivery)
        if not url:
            return None
        return WebhookPost(url=url, body=body(), task=delivery.envelope.task, task_id=delivery.id)

    def _not_run(self, delivery: Delivery) -> str:
        """What is posted of a task that Celery ended without running it."""
        return revoked_body(delivery.id, "expired" if self._has_expired(delivery) else "revoked")
