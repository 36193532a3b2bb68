"""Consumes a worker's queues: takes messages, routes each, and acknowledges them in the end.

Use: `start`, then `drain` once; `attach` whenever Celery's event loop is new. The handler gets
deliveries and ends each of them by `succeed`, `fail` or `give_back`, from any thread, in any order.
"""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from typing import TYPE_CHECKING

from celery.exceptions import NotRegistered
from redis.exceptions import RedisError

from worker.delivery.acks import Acks
from worker.delivery.celery_bridge import CeleryBridge
from worker.delivery.dead_lettering import poison, unknown_task, unreadable
from worker.delivery.drain import Drain
from worker.delivery.envelope import Envelope, UnreadableMessageError
from worker.delivery.heartbeat import Heartbeat
from worker.delivery.in_flight import Delivery, InFlight
from worker.delivery.poller import MOST_SUSPECTS, Poller
from worker.delivery.prefetch import split
from worker.delivery.quarantine import Quarantine, is_condemned
from worker.errors import ServiceError
from worker.quoting import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.policy import CeleryLoop, DeliveryPolicy, Handler
    from worker.delivery.prefetch import Prefetch
    from worker.delivery.redis_queue import RedisQueue
    from worker.delivery.unacked_entry import UnackedEntry

logger = logging.getLogger(__name__)

STOP_S = 2.0  # for a thread to notice
RETURN_S = 1.0  # for the process to end, before what its threads run goes back
MOST_BYTES = 128 * 1024 * 1024  # of messages in hand; with that many no more are taken
UNKNOWN_PATIENCE_S = 5.0  # for a worker that knows a task to take it
MOST_UNKNOWN_TOLD = 100  # names of unknown tasks that are logged once each
MORE_RESTING = 4  # messages that rest may take up so many times the room of the others


class QueueConsumer:
    """Messages in, results out. Threads may share it.

    Args:
        queues: Names of the queues to take from, which share the room evenly.
        open_queue: Opens a queue by its name, with a client of its own.
        prefetch: How many to hold.
        quarantine: Who may be in the making together.
        lease_s: Of the queues.
        policy: See there.
        watch: Called about once a second.
        now: Unix time in seconds.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        queues: Sequence[str],
        open_queue: Callable[[str], RedisQueue],
        prefetch: Prefetch,
        quarantine: Quarantine,
        lease_s: float,
        policy: DeliveryPolicy,
        watch: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.in_flight = InFlight()
        self.acks = Acks(policy, self.in_flight, self._ended, now)
        self.quarantine = quarantine
        self.is_started = False
        self.given_back = 0  # by the drain
        self._is_drained = False
        self._is_limited: Callable[[str], bool] = lambda _: False
        self._policy = policy
        self._lease_s = lease_s
        self._prefetch = prefetch
        self._watch = watch
        self._unknown_tasks: set[str] = set()  # whose putting back was logged
        self._usual_size = 1.0  # of the messages that were taken last
        self._open_queue = open_queue
        self._queues = [open_queue(name) for name in queues]
        self._handler: Handler
        self._poller = Poller(self._queues, self.in_flight, room=self._most, receive=self._receive)
        self.heartbeat = Heartbeat(
            self._queues,
            self.in_flight,
            lease_s=lease_s,
            watch=self._turn,
            lost=self.acks.drop,
            wake=self._poller.wake,
        )
        self.celery = CeleryBridge(self.acks, self.heartbeat.make_sure)

        self.succeed = self.acks.succeed
        self.fail = self.acks.fail
        self.give_back = self.acks.give_back
        self.drop = self.acks.drop
        self.is_wanted = self.acks.is_wanted

    @property
    def window(self) -> int:
        """How many pictures keep this worker busy."""
        return self._prefetch.size

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
        self.acks.start()
        self.quarantine.start()
        self.heartbeat.start()
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

    def attach(self, loop: CeleryLoop) -> None:
        """Go on with a new event loop; what the last one had scheduled is given back."""
        self.celery.forgotten()
        self.acks.events.listen(loop.dispatcher)
        self._is_limited = loop.is_limited
        self.celery.attach(loop.hub, loop.on_message)

    def stop_taking(self) -> None:
        """Take no more messages."""
        self._poller.stop(STOP_S)

    def drain(
        self,
        timeout_s: float,
        longest_s: float | None = None,
        is_urgent: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Take no more, finish what has begun, and give the rest back.

        What waits in Celery for an ETA, a rate limit or a thread goes back at once.

        Args:
            timeout_s: How long to wait for what the handler has in hand.
            longest_s: How long to wait for other tasks that a thread runs; None for as long as that
                takes, for a thread can't be ended.
            is_urgent: Asked again and again; true ends all waiting.

        Returns:
            Whether threads still run such tasks. Then end the process: within a second these go
            back to the queue.
        """
        if self._is_drained:
            return False
        self._is_drained = True
        drain = Drain(
            self.in_flight,
            self.celery,
            handlers=self._policy.tasks,
            give_back=self.acks.requeue,
            is_urgent=is_urgent,
        )
        self.stop_taking()
        drain.give_back_waiting()
        drain.finish(timeout_s)
        self.quarantine.stop()
        self._handler.abandon()
        drain.finish_others(longest_s)
        self.acks.stop(STOP_S)
        self.heartbeat.stop()
        must_end = drain.leave_others()
        self._end_leases(RETURN_S if must_end else 0.0)
        self.given_back = drain.given_back
        return must_end

    def begin(self, delivery: Delivery) -> bool:
        """Note that a thread runs it from now on; False if it must not."""
        return self.heartbeat.holds(delivery) and self.in_flight.begin(delivery)

    def advance(self, delivery: Delivery) -> None:
        """Note that one of several units of its work is done."""
        delivery.progress()
        if self.in_flight.shrink(delivery):
            self._prefetch.finished(1)

    def let_go(self) -> None:
        """Let all leases lapse now: this process is about to end by itself, after a fault."""
        for queue in self._queues:
            queue.reap(self._lease_s / 2, 0.0)

    def _end_leases(self, seconds: float) -> None:
        """Let what is still held go back so many seconds from now, and close the queues."""
        for queue in self._queues:
            try:
                queue.reap(self._lease_s / 2, seconds)
            except RedisError as error:  # then it lapses by itself
                logger.warning("The lease on queue %r can't be ended: %s", queue.name, error)
            queue.close()

    def _room(self) -> tuple[int, int]:
        """For how many more pictures there is room, and how many have room in all."""
        busy, handler = self.in_flight.busy, self._handler
        window = self._prefetch.window(busy, handler.preparation_s())
        resting = min(handler.resting(), MORE_RESTING * window)
        return window + resting - busy, window

    def _most(self) -> int:
        """How many messages to take, if they are as large as those that were taken last."""
        if self.in_flight.size_bytes >= MOST_BYTES:
            return 0
        room, window = self._room()
        # Not one by one, or each would cost a round trip; but never let the hand become empty.
        if room < max(1, window // 4) and self.in_flight.busy > 0:
            return 0
        return math.ceil(room / self._usual_size)

    def _receive(self, entries: Sequence[UnackedEntry]) -> None:
        read = [d for entry in entries if (d := self._read(entry))]
        kept, rest = split(read, self._room()[0], MOST_SUSPECTS - self.in_flight.suspects)
        self._usual_size = sum(d.size for d in read) / len(read) if read else 1.0
        new = self.in_flight.add(kept)
        self.acks.requeue_unseen(rest)
        self._handler.handle([delivery for delivery in new if self._is_ours(delivery)])

    def _read(self, entry: UnackedEntry) -> Delivery | None:
        try:
            envelope = Envelope.decode(entry.message)
        except UnreadableMessageError as error:
            delivery = _delivery(entry, error.envelope)
            self.acks.dead_letter(delivery, unreadable(error))
            return None
        delivery = _delivery(entry, envelope)
        delivery.waits_for_eta = bool(envelope.headers.get("eta"))
        delivery.size = self._policy.size_of(delivery)
        return delivery

    def _is_ours(self, delivery: Delivery) -> bool:
        """Whether the handler shall have it; if not, it goes where it belongs."""
        try:
            if is_condemned(delivery.crashes, self._policy.max_deliveries):
                self.acks.dead_letter(delivery, poison(delivery))
            elif not self._policy.is_registered(delivery.envelope.task):
                self._put_back_or_bury(delivery)
            elif not self._is_plain(delivery):
                self.celery.deliver(delivery)
            elif self.is_wanted(delivery):
                if self.acks.events.wanted:
                    self.acks.events.received(delivery)
                return True
        except RedisError as error:  # the heartbeat requeues it
            logger.warning("Task %s[%s] waits because Redis fails: %s", *delivery.name, error)
            self.drop(delivery)
        except Exception as error:  # a bug of ours must cost one task, not the worker
            logger.exception("Task %s can't be handed on", delivery.id)
            self.fail(delivery, ServiceError(f"The worker failed with {type(error).__name__}."))
        return False

    def _is_plain(self, delivery: Delivery) -> bool:
        envelope = delivery.envelope
        if self._policy.everything_standard or envelope.task not in self._policy.tasks:
            return False
        return envelope.is_plain and not self._is_limited(envelope.task)

    def _put_back_or_bury(self, delivery: Delivery) -> None:
        """Leave a task that is not registered here to a worker that knows it, for some seconds."""
        task = delivery.envelope.task
        is_ours = task.startswith(self._policy.namespace)
        if is_ours or not self.acks.park(delivery, UNKNOWN_PATIENCE_S):
            self.acks.dead_letter(delivery, unknown_task(delivery), NotRegistered(task))
            return
        self._poller.give_way(UNKNOWN_PATIENCE_S)
        if task not in self._unknown_tasks and len(self._unknown_tasks) < MOST_UNKNOWN_TOLD:
            self._unknown_tasks.add(task)
            logger.warning(
                "Put back the task %s, which is not registered here; unless another worker takes "
                "it within %g s it becomes a dead letter. Send it to its own workers' queue, not "
                "to clip-worker's (CLIP_WORKER_QUEUE), which is %s.",
                *(quote(task), UNKNOWN_PATIENCE_S, quote(delivery.queue.name)),
            )

    def _ended(self, deliveries: Sequence[Delivery]) -> None:
        self.quarantine.leave(deliveries)
        self.in_flight.remove(deliveries)
        self._prefetch.finished(sum(delivery.size for delivery in deliveries))

    def _turn(self) -> None:
        self._watch()
        oldest = time.monotonic() - self._policy.task_timeout_s
        for delivery in self.in_flight.all():
            # Celery's own wait for an ETA or a rate limit, or are a user's; ours end themselves.
            if delivery.progressed_at < oldest and not self.celery.has(delivery):
                error = self._policy.timeout_error()
                (delivery.time_out or partial(self.fail, delivery))(error)


def _delivery(entry: UnackedEntry, envelope: Envelope) -> Delivery:
    return Delivery(entry.lease, envelope, entry.message, entry.crashes, [entry.tag])
