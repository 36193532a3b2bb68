"""Consumes a worker's queues: takes messages, routes each, and acknowledges them in the end.

Use: `start`, then `drain` once; `attach` whenever Celery's event loop is new. The handler gets
deliveries and ends each of them by `acks`, from any thread, in any order.
"""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from worker.delivery.acks import Acks
from worker.delivery.celery_bridge import CeleryBridge
from worker.delivery.delivery import TOGETHER_UNKNOWN, Crash, Delivery
from worker.delivery.drain import Drain
from worker.delivery.heartbeat import Heartbeat
from worker.delivery.in_flight import InFlight
from worker.delivery.policy import timeout_error
from worker.delivery.poller import MOST_SUSPECTS, Poller
from worker.delivery.prefetch import split
from worker.delivery.router import Router
from worker.delivery.throttled_warning import ThrottledWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.policy import DeliveryPolicy, Handler
    from worker.delivery.prefetch import Prefetch
    from worker.delivery.redis_queue import RedisQueue
    from worker.metrics.instruments import Instruments
    from worker.tracing.traces import Traces

logger = logging.getLogger(__name__)

STOP_S = 2.0  # for a thread to notice
RETURN_S = 1.0  # for the process to end, before what its threads run goes back
MOST_BYTES = 128 * 1024 * 1024  # of messages in flight; with that many no more are taken
MORE_RESTING = 4  # messages that rest may take up so many times the room of the others


class QueueConsumer:
    """Messages in, results out. Threads may share it.

    Args:
        queues: Names of the queues to take from, which share the room evenly.
        open_queue: Opens a queue by its name, with a client of its own.
        prefetch: How many to hold.
        lease_s: Of the queues.
        policy: See there.
        watch: Called about twice a second, on the heartbeat's thread.
        polled: Called about twice a second or more often, on the poller's thread.
        instruments: Count how tasks ended.
        traces: Trace tasks; None if nobody wants that.
        worker: This worker's name, for the histories of messages.
        now: Unix time in seconds.

    Attributes:
        in_flight: The deliveries that it holds.
        acks: Ends them.
        celery: Hands some of them to Celery.
        is_started: Whether it takes messages, or has.
        given_back: How many messages the drain has requeued.
        taken_messages, taken_images: How many it has taken.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        queues: Sequence[str],
        open_queue: Callable[[str], RedisQueue],
        prefetch: Prefetch,
        lease_s: float,
        policy: DeliveryPolicy,
        watch: Callable[[], None] = lambda: None,
        polled: Callable[[], None] = lambda: None,
        instruments: Instruments | None = None,
        traces: Traces | None = None,
        worker: str = "worker",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.in_flight = InFlight()
        self.acks = Acks(policy, self.in_flight, self._ended, instruments, now)
        self.celery = CeleryBridge(self.acks)
        self.is_started = False
        self.given_back = self.taken_messages = self.taken_images = 0
        self._is_drained = False
        self._policy = policy
        self._lease_s = lease_s
        self._worker = worker
        self._now = now
        self._traces = traces
        self._warning = ThrottledWarning(logger, "No task can be begun")
        self._prefetch = prefetch
        self._watch = watch
        self._polled = polled
        self._usual_size = 1.0  # of the messages that were taken last
        self._open_queue = open_queue
        self._queues = [open_queue(name) for name in queues]
        self._handler: Handler
        self._poller = Poller(self._queues, self.in_flight, room=self._most, receive=self._receive)
        self._heartbeat = Heartbeat(
            self._queues,
            self.in_flight,
            lease_s=lease_s,
            watch=self._turn,
            lost=self.acks.drop,
            wake=self._poller.wake,
        )
        self._router = Router(policy, self.acks, self.celery, self._poller.give_way)

    @property
    def window(self) -> int:
        """How many images keep this worker busy."""
        return self._prefetch.size

    @property
    def queue_names(self) -> tuple[str, ...]:
        """Names of the queues that it takes from."""
        return tuple(queue.name for queue in self._poller.queues)

    def probe(self) -> None:
        """Try what Redis has to be able to do.

        Raises:
            ResponseError: It can't; kombu's own transport must serve.
        """
        self._queues[0].probe()

    def start(self, handler: Handler) -> None:
        """Begin to take messages."""
        self.is_started = True
        self._handler = handler
        self.acks.writer.start()
        self._heartbeat.start()
        self._poller.start()

    def take_from(self, name: str) -> None:
        """Take from one more queue."""
        queue = next((known for known in self._queues if known.name == name), None)
        if queue is None:
            queue = self._open_queue(name)
            self._queues.append(queue)
        self._poller.add(queue)

    def leave(self, name: str) -> None:
        """Take no more from a queue; what is in flight is finished."""
        self._poller.remove(name)

    def attach(
        self,
        hub: Any,
        on_message: Callable[[Any], None],
        dispatcher: Any = None,
        is_limited: Callable[[str], bool] = lambda _task: False,
    ) -> None:
        """Go on with a new event loop of Celery's; what the last one had scheduled is requeued.

        Args:
            hub: kombu's event loop.
            on_message: Takes a `kombu.Message`, on the loop's thread.
            dispatcher: Sends task events; None if there is none.
            is_limited: Whether a task of this name has a rate limit.
        """
        self.acks.events.listen(dispatcher)
        self._router.is_limited = is_limited
        self.celery.attach(hub, on_message, self.in_flight.all())

    def drain(
        self,
        timeout_s: float,
        longest_s: float | None = None,
        is_urgent: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Take no more, finish what has begun, and requeue the rest.

        What waits in Celery for an ETA, a rate limit or a thread goes back at once.

        Args:
            timeout_s: How long to wait for what the handler works on.
            longest_s: How long to wait for other tasks that a thread runs; None for no limit.
            is_urgent: Asked again and again; true ends all waiting.

        Returns:
            Whether threads still run such tasks: then end the process within a second.
        """
        if self._is_drained:
            return False
        self._is_drained = True
        drain = Drain(self.in_flight, self.acks, self._policy.tasks, is_urgent)
        self._poller.stop(STOP_S)
        drain.give_back_waiting()
        drain.finish(timeout_s)
        self._handler.abandon()
        drain.finish_others(longest_s)
        self.acks.writer.stop(STOP_S)
        self._heartbeat.stop()
        must_end = drain.leave_others()
        self.end_leases(RETURN_S if must_end else 0.0)
        for queue in self._queues:
            queue.close()
        self.given_back = drain.given_back
        return must_end

    def begin(self, delivery: Delivery) -> bool:
        """Note that a thread runs it from now on; False if it must not."""
        return self._heartbeat.holds(delivery) and self.in_flight.begin(delivery)

    def begin_all(
        self, deliveries: Sequence[Delivery], together: int | None = None
    ) -> list[Delivery]:
        """Note in Redis that this worker works on these from now on, however long that takes.

        If it dies meanwhile, that becomes part of their histories.

        Args:
            deliveries: In flight.
            together: How many it works on in all; None for a crowd, whose size changes.

        Returns:
            Those that are still this worker's, and wanted; the others have ended.
        """
        wanted = [d for d in deliveries if self._heartbeat.holds(d) and self.acks.is_wanted(d)]
        crash = Crash(self._now(), together or TOGETHER_UNKNOWN, self._worker)
        begun: list[Delivery] = []
        for lease in {delivery.lease: None for delivery in wanted}:
            ours = [delivery for delivery in wanted if delivery.lease is lease]
            tags = [delivery.tag for delivery in ours]
            held = self._warning.insist(partial(lease.queue.start, lease, tags, crash))
            for delivery, is_held in zip(ours, held, strict=True):
                if not is_held:
                    self.acks.drop(delivery)
                elif self.in_flight.begin(delivery):
                    begun.append(delivery)
        return begun

    def advance(self, delivery: Delivery) -> None:
        """Note that one of several units of its work is done."""
        delivery.progress()
        if self.in_flight.shrink(delivery):
            self._prefetch.finished(1)

    def end_leases(self, seconds: float = 0.0) -> None:
        """Let other workers have what is still held, so many seconds from now."""
        for queue in self._queues if self.is_started else ():
            try:
                queue.reap(self._lease_s / 2, seconds)
            except RedisError as error:  # then it lapses by itself
                logger.warning("Can't end the lease on queue %r: %s", queue.name, error)

    def _room(self) -> int:
        """For how many more images there is room."""
        busy, handler = self.in_flight.busy, self._handler
        window = self._prefetch.window(busy, handler.preparation_s())
        resting = min(handler.resting(), MORE_RESTING * window)
        return window + resting - busy

    def _most(self) -> int:
        """How many messages to take, if they are as large as those that were taken last."""
        self._polled()
        if self.in_flight.size_bytes >= MOST_BYTES or self._handler.is_full():
            return 0
        room = self._room()
        if room < self._prefetch.step and self.in_flight.busy > 0:
            return 0
        return math.ceil(room / self._usual_size)

    def _receive(self, taken: Sequence[Delivery]) -> None:
        read = list(filter(self._router.read, taken))
        kept, rest = split(read, self._room(), MOST_SUSPECTS - self.in_flight.suspects)
        self._usual_size = sum(d.size for d in read) / len(read) if read else 1.0
        new, copies = self.in_flight.add(kept)
        self.taken_messages += len(new)
        self.taken_images += sum(delivery.size for delivery in new)
        self.acks.acknowledge_copies(copies)
        self.acks.requeue(rest)
        plain = list(filter(self._router.is_for_handler, new))
        self.acks.signals.started(plain)
        self._handler.handle(plain)

    def _ended(self, deliveries: Sequence[Delivery]) -> None:
        self.acks.signals.ended(deliveries)  # first, for the drain waits for those in flight
        if self._traces:
            self._traces.messages_ended(deliveries)
        self.in_flight.remove(deliveries)
        self._prefetch.finished(sum(delivery.size for delivery in deliveries))

    def _turn(self) -> None:
        self._watch()
        oldest = time.monotonic() - self._policy.task_timeout_s
        for delivery in self.in_flight.all():
            # Celery's own wait for an ETA or a rate limit, or are a user's; ours end themselves.
            if delivery.progressed_at < oldest and not delivery.in_celery:
                error = timeout_error(self._policy.task_timeout_s)
                (delivery.time_out or partial(self.acks.fail, delivery))(error)
