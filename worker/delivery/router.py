"""Routes messages that were taken: to the handler, to Celery, back, or to the dead letters."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from celery.exceptions import NotRegistered
from redis.exceptions import RedisError

from clip_worker.contract.message_reader import Envelope, UnreadableMessageError
from clip_worker.contract.requests import TASK_PREFIX
from clip_worker.errors import ServiceError
from clip_worker.quoting import quote
from worker.delivery.dead_lettering import is_condemned, poison, unknown_task
from worker.delivery.oversized import OversizedMessageError, check_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.delivery.acks import Acks
    from worker.delivery.celery_bridge import CeleryBridge
    from worker.delivery.delivery import Delivery
    from worker.delivery.policy import DeliveryPolicy

logger = logging.getLogger(__name__)

UNKNOWN_PATIENCE_S = 5.0  # for a worker that knows a task to take it
MOST_UNKNOWN_LOGGED = 100  # names of unknown tasks that are logged once each


class Router:
    """Reads messages and routes them. For the poller's thread.

    Args:
        policy: How messages are treated.
        acks: Ends those that nobody here shall work on.
        celery: Takes those that ask for more than the handler does.
        give_way: Lets other workers go first, for so many seconds.

    Attributes:
        is_limited: Whether a task of this name has a rate limit, which Celery keeps.
    """

    def __init__(
        self,
        policy: DeliveryPolicy,
        acks: Acks,
        celery: CeleryBridge,
        give_way: Callable[[float], None],
    ) -> None:
        self.is_limited: Callable[[str], bool] = lambda _: False
        self._policy = policy
        self._acks = acks
        self._celery = celery
        self._give_way = give_way
        self._unknown_tasks: set[str] = set()  # that were logged

    def read(self, delivery: Delivery) -> bool:
        """Read a delivery's message; False if it can't be read, and became a dead letter."""
        try:
            check_size(delivery.message)
            delivery.envelope = self._envelope(delivery)
        except (OversizedMessageError, UnreadableMessageError) as error:
            delivery.envelope = error.envelope
            self._acks.refuse(delivery, error)
            return False
        delivery.waits_for_eta = bool(delivery.envelope.headers.get("eta"))
        delivery.size = self._policy.size_of(delivery)
        return True

    def _envelope(self, delivery: Delivery) -> Envelope:
        check, queue = self._policy.signatures, delivery.queue.name
        if check is None:
            return Envelope.decode(delivery.message)
        envelope = Envelope.decode(delivery.message, partial(check.verify, queue=queue))
        # A retry goes where these say, and no signature covers them.
        info = {"delivery_info": {"exchange": "", "routing_key": queue}}
        return envelope._replace(properties=envelope.properties | info)

    def is_for_handler(self, delivery: Delivery) -> bool:
        """Whether the handler shall have a delivery; if not, it goes where it belongs."""
        try:
            if is_condemned(delivery.crashes, self._policy.max_deliveries):
                reason = poison(delivery)
                self._acks.signals.failed(delivery, reason)
                self._acks.dead_letter(delivery, reason)
            elif not self._policy.is_registered(delivery.envelope.task):
                self._park_or_dead_letter(delivery)
            elif not self._is_plain(delivery.envelope):
                self._celery.deliver(delivery)
            elif self._acks.is_wanted(delivery):
                self._acks.events.received(delivery)
                self._acks.signals.received(delivery)
                return True
        except RedisError as error:  # the heartbeat requeues it
            fields = delivery.log_fields()
            logger.warning(
                "Task %s[%s] waits because Redis fails: %s", *delivery.name, error, extra=fields
            )
            self._acks.drop(delivery)
        except Exception as error:  # a bug of ours must cost one task, not the worker
            fields = delivery.log_fields()
            logger.exception("Can't route task %s[%s]", *delivery.name, extra=fields)
            failure = ServiceError(f"The worker failed with {type(error).__name__}.")
            self._acks.fail(delivery, failure)
        return False

    def _is_plain(self, envelope: Envelope) -> bool:
        if self._policy.everything_in_celery or envelope.task not in self._policy.tasks:
            return False
        return envelope.is_plain and not self.is_limited(envelope.task)

    def _park_or_dead_letter(self, delivery: Delivery) -> None:
        """Leave a task that is not registered here to a worker that knows it, for some seconds."""
        task = delivery.envelope.task
        is_ours = task.startswith(TASK_PREFIX)
        if is_ours or not self._acks.park(delivery, UNKNOWN_PATIENCE_S):
            error = NotRegistered(task)
            self._acks.signals.unknown(delivery, error)
            self._acks.dead_letter(delivery, unknown_task(delivery), error)
            return
        self._give_way(UNKNOWN_PATIENCE_S)
        if task not in self._unknown_tasks and len(self._unknown_tasks) < MOST_UNKNOWN_LOGGED:
            self._unknown_tasks.add(task)
            logger.warning(
                "Put back the task %s, which is not registered here; unless another worker takes "
                "it within %g s it becomes a dead letter. Send it to its own workers' queue, not "
                "to clip-worker's (CLIP_WORKER_QUEUE), which is %s.",
                *(quote(task), UNKNOWN_PATIENCE_S, quote(delivery.queue.name)),
            )
