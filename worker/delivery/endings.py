"""The ends that a delivery can come to, each at most once."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from worker.delivery.burial import bury
from worker.delivery.finisher import Finisher
from worker.delivery.held import Delivery, Held
from worker.delivery.stored_result import failure, result_key, revoked, success
from worker.delivery.task_events import TaskEvents
from worker.delivery.totals import Totals
from worker.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.envelope import Envelope
    from worker.delivery.isolation import Isolation
    from worker.delivery.ledger import Ledger
    from worker.delivery.prefetch import Prefetch
    from worker.delivery.rules import Rules
    from worker.errors import ClipWorkerError

logger = logging.getLogger(__name__)


class Endings:
    """Ends deliveries: stores results, gives back, buries. Threads may share it.

    Args:
        rules: How messages are treated.
        prefetch: Is told of each end.
        isolation: Likewise.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        rules: Rules,
        prefetch: Prefetch,
        isolation: Isolation,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.held = Held()
        self.isolation = isolation
        self.totals = Totals()  # of the batch path; Celery counts what it runs itself
        self._rules = rules
        self._prefetch = prefetch
        self._now = now
        self._events = TaskEvents()
        self._finisher = Finisher(self._ended)

    def succeed(self, delivery: Delivery, result_json: str) -> None:
        """End a delivery with a result, given as JSON."""
        if self._claim(delivery):
            self.totals.add(delivery.envelope.task)
            if self._events.wanted or logger.isEnabledFor(logging.INFO):
                self._tell_of_success(delivery, result_json)
            done = self._stored(delivery, success, result_json)
            if len(self.held) == 1:  # nobody waits meanwhile, and to wake a thread takes time
                self._finisher.finish_alone(done)
            else:
                self._finisher.add([done])

    def _tell_of_success(self, delivery: Delivery, result_json: str) -> None:
        taken_s = time.monotonic() - delivery.taken_at
        # Celery's own words, which its users look for.
        logger.info("Task %s[%s] succeeded in %.3fs", *delivery.name, taken_s)
        self._events.succeeded(delivery, result_json, taken_s)

    def fail(self, delivery: Delivery, error: BaseException) -> None:
        """End a delivery with an error."""
        if self._claim(delivery):
            self.totals.add(delivery.envelope.task)
            logger.info("Task %s[%s] failed: %r", *delivery.name, error)
            self._events.failed(delivery, error)
            self._finisher.add([self._stored(delivery, failure, error)])

    def begin(self, delivery: Delivery) -> bool:
        """Note that a thread runs it from now on; False if it must not, for its end is decided."""
        return self.held.begin(delivery)

    def advance(self, delivery: Delivery) -> None:
        """Note that one of several units of its work is done."""
        delivery.progress()
        if self.held.shrink(delivery):
            self._prefetch.finished(1)

    def acknowledge(self, delivery: Delivery) -> None:
        """End a delivery whose result Celery has stored."""
        if self._claim(delivery):
            self._finisher.add([(delivery, "", "")])

    def give_back(self, delivery: Delivery) -> None:
        """Let somebody else have it, now."""
        if self._claim(delivery):
            self._give_back([delivery])

    def put_back_unknown(self, delivery: Delivery, patience_s: float) -> bool:
        """Let a worker that knows the task have it, after a pause that grows.

        Args:
            delivery: Whose task is not registered here.
            patience_s: How long it is tried, by any number of workers.

        Returns:
            False if that time has passed: then nothing was done.
        """
        if not delivery.ledger.put_back(delivery.tags, delivery.id, patience_s):
            return False
        if self._claim(delivery):
            self._ended([delivery])
        return True

    def dead_letter(
        self, delivery: Delivery, reason: ClipWorkerError, told: BaseException | None = None
    ) -> None:
        """End a delivery as a dead letter, and store its failure under its id.

        Args:
            delivery: In hand.
            reason: Why, for the operator.
            told: What its caller gets, if that is another error.
        """
        if self._claim(delivery):
            logger.error("Task %s[%s] became a dead letter: %s", *delivery.name, reason)
            self._tell_dependents(delivery, told or reason)
            self._events.failed(delivery, told or reason)
            self._bury(delivery, reason, told or reason)
            self._ended([delivery])

    def reject(self, delivery: Delivery) -> None:
        """End a delivery that a task has rejected, as a dead letter; its result is the task's."""
        if self._claim(delivery):
            reason = ServiceError("The task raised Reject, or Celery refused it.", "REJECTED")
            logger.warning("Task %s[%s] became a dead letter: %s", *delivery.name, reason)
            self._bury(delivery, reason, None)
            self._ended([delivery])

    def drop(self, delivery: Delivery) -> None:
        """Forget a delivery that has become somebody else's."""
        if self._claim(delivery):
            self._ended([delivery])

    def is_wanted(self, delivery: Delivery) -> bool:
        """Whether it is to run; if it was revoked or has expired it ends here."""
        expires = delivery.envelope.expires()
        expired = expires is not None and self._now() > expires
        if not expired and delivery.id not in self._rules.revoked:
            return True
        if self._claim(delivery):
            reason = "expired" if expired else "revoked"
            logger.info("Task %s[%s] is not run: %s", *delivery.name, reason)
            self._events.revoked(delivery, expired=expired)
            self._finisher.add([self._stored(delivery, revoked, reason)])
        return False

    def _tell_dependents(self, delivery: Delivery, error: BaseException) -> None:
        try:
            self._rules.tell_dependents(delivery, error)
        except Exception:  # it must be given up all the same
            logger.exception("Those who depend on task %s were not told", delivery.id)

    def _bury(
        self, delivery: Delivery, reason: ClipWorkerError, told: BaseException | None
    ) -> None:
        try:
            bury(delivery, reason, told, self._now())
        except RedisError as error:  # its lease runs out, and it comes again
            logger.warning("A dead letter can't be filed yet, for Redis fails: %s", error)

    def _stored(
        self, delivery: Delivery, state: Callable[[Envelope, Any], str], what: object
    ) -> tuple[Delivery, str, str]:
        ignore = delivery.envelope.headers.get("ignore_result")
        if self._rules.ignore_result if ignore is None else ignore:
            return delivery, "", ""
        return delivery, result_key(delivery.id), state(delivery.envelope, what)

    def _claim(self, delivery: Delivery) -> bool:
        """Whether this is its first end."""
        return self.held.claim(delivery)

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        self._put_back(deliveries)
        self._ended(deliveries)

    def _put_back(self, deliveries: Sequence[Delivery]) -> None:
        by_ledger: dict[Ledger, list[str]] = {}
        for delivery in deliveries:
            by_ledger.setdefault(delivery.ledger, []).extend(delivery.tags)
        for ledger, tags in by_ledger.items():
            try:
                # The last taken goes back first, so that the queue's order stays.
                ledger.give_back(tags[::-1])
            except RedisError as error:  # their leases run out
                logger.warning("%d tasks go back later than they should: %s", len(tags), error)

    def _ended(self, deliveries: Sequence[Delivery]) -> None:
        self.isolation.leave(deliveries)
        self.held.remove(deliveries)
        self._prefetch.finished(sum(delivery.size for delivery in deliveries))
