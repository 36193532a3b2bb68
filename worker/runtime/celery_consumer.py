"""Celery's consumer, with our queue consumer in the place of kombu's transport.

kombu's transport stays for remote control and events, and serves the queue as well where ours can't
(`CLIP_WORKER_QUEUE_PATH`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.concurrency import solo
from celery.platforms import EX_FAILURE
from celery.worker.consumer import Consumer
from celery.worker.consumer.tasks import Tasks
from kombu.common import QoS
from kombu.messaging import Consumer as KombuConsumer
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError

from clip_worker.contract.requests import TASK_PREFIX
from clip_worker.quoting import quote
from clip_worker.redis.url import connect
from worker.delivery.celery_bridge import DeliveryChannel
from worker.delivery.tenant_merge import MERGE_EVERY_S, TenantMerge
from worker.delivery.throttled_warning import ThrottledWarning
from worker.logs.say import say
from worker.runtime import state as runtime
from worker.runtime.stopping import status_of

logger = logging.getLogger(__name__)

TEMPORARY = (BusyLoadingError, OutOfMemoryError, ReadOnlyError)
LOOP_BEAT_S = 5.0
PUT_BACK_AFTER_S = 1.0  # so that a lone worker does not spin on it


class NullConsumer(KombuConsumer):
    """Knows the queues, for `inspect active_queues` and `control add_consumer`; takes nothing."""

    def consume(self, no_ack: bool | None = None) -> None:  # noqa: ARG002, FBT001  # kombu's
        """Let the queue consumer take from all queues that are known by now."""
        for queue in self.queues or ():
            runtime.current().consumer.take_from(queue.name)

    def cancel_by_queue(self, queue: str) -> None:
        """Let the queue consumer take no more from this one."""
        queues: dict[str, Any] = self._queues or {}
        queues.pop(queue, None)
        runtime.current().consumer.leave(queue)


class QueueStep(Tasks):  # type: ignore[misc]  # Celery has no type information
    """Celery's step that opens the queue: ours if Redis can serve it, else Celery's own."""

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self.is_ours = self.merges_tenants = False

    def start(self, c: Any) -> None:
        """Open the queue, for the first time or after a reconnect."""
        here = runtime.current()
        if not self.is_ours and not _serves(here, c):
            super().start(c)
            self._merge_tenants(c)
            return
        self.is_ours = True
        here.consumer.acks.signals.listen(c)
        c.update_strategies()
        c.task_consumer = NullConsumer(  # type: ignore[no-untyped-call]  # kombu's
            c.connection.default_channel, list(c.app.amqp.queues.consume_from.values())
        )
        c.qos = QoS(c.task_consumer.qos, c.initial_prefetch_count)  # type: ignore[no-untyped-call]  # likewise
        here.serve()

    def _merge_tenants(self, c: Any) -> None:
        """Let kombu's transport have the messages of tenants, from now on."""
        if not self.merges_tenants:
            warning = ThrottledWarning(logger, "Messages of tenants can't be taken")
            redis, queues = connect(runtime.current().settings.redis_url), c.app.amqp.queues
            merge = TenantMerge(redis, list(queues.consume_from), warning.warn)
            c.timer.call_repeatedly(MERGE_EVERY_S, merge.turn)
            self.merges_tenants = True

    def register_with_event_loop(self, c: Any, hub: Any) -> None:
        """Take what has to run as an ordinary Celery task through this loop, and watch it."""
        if not isinstance(c.pool, solo.TaskPool):  # whose tasks run on the loop
            hub.call_repeatedly(LOOP_BEAT_S, runtime.current().service.health.celery_loop.beat)
        if self.is_ours:
            runtime.current().consumer.attach(
                hub,
                c.create_task_handler(),
                c.event_dispatcher,
                lambda task: bool(c.task_buckets.get(task)),
            )


class ClipConsumer(Consumer):  # type: ignore[misc]  # Celery has no type information
    """Makes dead letters of the messages that Celery would discard and acknowledge."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]  # likewise
        """Celery's steps, with ours for the queue."""

        def _finalize_steps(self, steps: Any) -> list[Any]:
            ordered = super()._finalize_steps(steps)
            return [QueueStep if step is Tasks else step for step in ordered]

    def __init__(self, on_task_request: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(self._begin, *args, **kwargs)
        self._run_in_pool = on_task_request

    def stop(self) -> None:
        """End the work first: Celery's steps would wait for all that its threads run."""
        here = runtime.current()
        here.stopping.wait(status_of(self.controller.exitcode))
        here.consumer.celery.close()
        super().stop()

    def call_soon(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Acknowledge at once where that is ours to do: it neither blocks nor needs this thread."""
        message = getattr(p, "__self__", None)
        if isinstance(getattr(message, "channel", None), DeliveryChannel):
            return p(*args, **kwargs)
        return super().call_soon(p, *args, **kwargs)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """End a message that Celery takes for none."""
        self._refuse(message, ValueError("it is no task message of Celery's")) or (
            super().on_unknown_message(body, message)
        )

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """End a message whose body Celery can't decode."""
        self._refuse(message, exc) or super().on_decode_error(message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:
        """End a message whose headers Celery refuses."""
        self._refuse(message, exc) or super().on_invalid_task(body, message, exc)

    def on_unknown_task(self, body: Any, message: Any, exc: BaseException) -> None:
        """Put the message back after a second; an unknown task of our own name space fails.

        This is for kombu's transport; our queue consumer looks for unknown tasks itself.
        """
        name = str((message.headers or {}).get("task", ""))
        if self._refuse(message, exc):
            return
        if not name or name.startswith(TASK_PREFIX):
            super().on_unknown_task(body, message, exc)
            return
        logger.warning("Put back the task %s, which is not registered here.", quote(name))
        self.timer.call_after(PUT_BACK_AFTER_S, message.requeue)

    def _refuse(self, message: Any, error: BaseException) -> bool:
        """End a message of the queue consumer as a dead letter; False if it is kombu's."""
        if not isinstance(message.channel, DeliveryChannel):
            return False
        message.channel.refuse(error)
        return True

    def _begin(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        channel = request.message.channel
        if isinstance(channel, DeliveryChannel):
            delivery, consumer = channel.delivery, runtime.current().consumer
            delivery.waits_in_celery = False
            if delivery.ended:  # given back, for the worker stops
                return None
            request.on_accepted = _unless_given_back(partial(consumer.begin, delivery), request)
        return self._run_in_pool(request, *args, **kwargs)


class GivenBackError(Exception):
    """A task was given back before a thread could begin it."""


def _unless_given_back(begin: Callable[[], bool], request: Any) -> Callable[..., None]:
    """What Celery calls on the thread that is to run a task; an error from there ends it."""
    accept = request.on_accepted

    def accept_if_held(*args: Any) -> None:
        del request.on_accepted  # or the two would hold each other
        if not begin():
            raise GivenBackError(request.id)
        accept(*args)

    return accept_if_held


def _serves(here: runtime.Runtime, consumer: Any) -> bool:
    """Whether our queue consumer can serve; else why not is logged, or ends the worker.

    Raises:
        ConnectionError: Redis can't tell just now.
    """
    wanted = here.settings.queue_path
    is_stock = wanted == "stock"
    reason = "CLIP_WORKER_QUEUE_PATH is 'stock'" if is_stock else _obstacle(here, consumer)
    if reason is None:
        return True
    if here.settings.signing_keys:
        raise SystemExit(
            f"clip-worker: {reason}, but kombu's transport verifies no signatures; mend that, or "
            "unset CLIP_WORKER_SIGNING_KEYS."
        )
    if wanted == "batch":
        sentence = f"CLIP_WORKER_QUEUE_PATH is 'batch', but {reason}; mend that, or set auto."
        say(sentence, level=logging.CRITICAL, file=sys.__stderr__)
        raise SystemExit(EX_FAILURE)
    logger.warning(
        "%s, so kombu's own transport serves the queue; it can lose messages (kombu#305).", reason
    )
    return False


def _obstacle(here: runtime.Runtime, consumer: Any) -> str | None:
    if consumer.hub is None:
        return "Celery runs without an event loop here"
    try:
        here.consumer.probe()
    except TEMPORARY as error:
        raise ConnectionError(str(error)) from error
    except ResponseError as error:
        return f"this Redis is older than 6.2 or lacks commands ({error})"
    return None
