"""The whole queue path of a worker process: taking, deciding what becomes of each message, ending.

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

from worker.delivery.burial import poison, unknown_task, unreadable
from worker.delivery.drain import Drain
from worker.delivery.endings import Endings
from worker.delivery.envelope import Envelope, UnreadableMessageError
from worker.delivery.held import Delivery
from worker.delivery.intake import MOST_SUSPECTS, Intake
from worker.delivery.isolation import Isolation, is_condemned
from worker.delivery.keeper import Keeper
from worker.delivery.prefetch import split
from worker.delivery.standard import StandardWay
from worker.errors import ServiceError
from worker.quoting import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.entry import Entry
    from worker.delivery.ledger import Ledger
    from worker.delivery.prefetch import Prefetch
    from worker.delivery.rules import CeleryLoop, Handler, Rules

logger = logging.getLogger(__name__)

STOP_S = 2.0  # for a thread to notice
MOST_BYTES = 128 * 1024 * 1024  # of messages in hand; with that many no more are taken
UNKNOWN_PATIENCE_S = 5.0  # for a worker that knows a task to take it
MOST_UNKNOWN_TOLD = 100  # names of unknown tasks that are logged once each
MORE_RESTING = 4  # messages that rest may take up so many times the room of the others


class DeliveryPath(Endings):
    """Messages in, results out. Threads may share it.

    Args:
        queues: Names of the queues to take from, which share the room evenly.
        open_ledger: Makes a queue's ledger, with a client of its own.
        prefetch: How many to hold.
        isolation: Who may be in the making together.
        lease_s: Of the ledgers.
        rules: See there.
        watch: Called about once a second.
        now: Unix time in seconds.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        queues: Sequence[str],
        open_ledger: Callable[[str], Ledger],
        prefetch: Prefetch,
        isolation: Isolation,
        lease_s: float,
        rules: Rules,
        watch: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(rules, prefetch, isolation, now)
        self.is_started = False
        self.given_back = 0  # by the drain
        self._is_drained = False
        self._is_limited: Callable[[str], bool] = lambda _: False
        self._watch = watch
        self._unknown_tasks: set[str] = set()  # whose putting back was logged
        self._usual_size = 1.0  # of the messages that were taken last
        self._open_ledger = open_ledger
        self._ledgers = [open_ledger(queue) for queue in queues]
        self._handler: Handler
        self._intake = Intake(self._ledgers, self.held, room=self._most, receive=self._receive)
        self.keeper = Keeper(
            self._ledgers, self.held, lease_s=lease_s, watch=self._turn, lost=self.drop
        )
        self.standard = StandardWay(self, self.keeper.make_sure)

    @property
    def window(self) -> int:
        """How many pictures keep this worker busy."""
        return self._prefetch.size

    def probe(self) -> None:
        """Try what Redis has to be able to do.

        Raises:
            ResponseError: It can't; kombu's own transport must serve.
        """
        self._ledgers[0].probe()

    def start(self, handler: Handler) -> None:
        """Begin to take messages."""
        self.is_started = True
        self._handler = handler
        self._finisher.start()
        self.isolation.start()
        self.keeper.start()
        self._intake.start()

    def take_from(self, queue: str) -> None:
        """Take from one more queue."""
        ledger = next((known for known in self._ledgers if known.keys.queue == queue), None)
        if ledger is None:
            ledger = self._open_ledger(queue)
            self._ledgers.append(ledger)
        self._intake.add(ledger)

    def leave(self, queue: str) -> None:
        """Take no more from a queue; what is in hand is finished."""
        self._intake.remove(queue)

    def attach(self, loop: CeleryLoop) -> None:
        """Go on with a new event loop; what the last one had scheduled is given back."""
        self.standard.forgotten()
        self._events.listen(loop.dispatcher)
        self._is_limited = loop.is_limited
        self.standard.attach(loop.hub, loop.on_message)

    def stop_taking(self) -> None:
        """Take no more messages."""
        self._intake.stop(STOP_S)

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
            self.held,
            self.standard,
            handlers=self._rules.tasks,
            give_back=self._give_back,
            is_urgent=is_urgent,
        )
        self.stop_taking()
        drain.give_back_waiting()
        drain.finish(timeout_s)
        self.isolation.stop()
        self._handler.abandon()
        drain.finish_others(longest_s)
        self._finisher.stop(STOP_S)
        self.keeper.stop()
        must_end = drain.leave_others()
        for ledger in self._ledgers:
            ledger.close()
        self.given_back = drain.given_back
        return must_end

    def begin(self, delivery: Delivery) -> bool:
        """Note that a thread runs it from now on; False if it must not."""
        return self.keeper.holds(delivery) and super().begin(delivery)

    def let_go(self) -> None:
        """Let all leases run out now: this process is about to end by itself, after a fault."""
        for delivery in self.held.all():
            delivery.ledger.extend(delivery.tags, 0)

    def _room(self) -> tuple[int, int]:
        """For how many more pictures there is room, and how many have room in all."""
        busy, handler = self.held.busy, self._handler
        window = self._prefetch.window(busy, handler.preparation_s())
        resting = min(handler.resting(), MORE_RESTING * window)
        return window + resting - busy, window

    def _most(self) -> int:
        """How many messages to take, if they are as large as those that were taken last."""
        if self.held.size_bytes >= MOST_BYTES:
            return 0
        room, window = self._room()
        # Not one by one, or each would cost a round trip; but never let the hand become empty.
        if room < max(1, window // 4) and self.held.busy > 0:
            return 0
        return math.ceil(room / self._usual_size)

    def _receive(self, ledger: Ledger, entries: Sequence[Entry]) -> None:
        read = [d for entry in entries if (d := self._read(ledger, entry))]
        kept, rest = split(read, self._room()[0], MOST_SUSPECTS - self.held.suspects)
        self._usual_size = sum(d.size for d in read) / len(read) if read else 1.0
        new = self.held.add(kept)
        self._put_back(rest)
        self._handler.handle([delivery for delivery in new if self._is_ours(delivery)])

    def _read(self, ledger: Ledger, entry: Entry) -> Delivery | None:
        try:
            envelope = Envelope.decode(entry.message)
        except UnreadableMessageError as error:
            delivery = _delivery(ledger, entry, error.envelope)
            self.dead_letter(delivery, unreadable(error))
            return None
        delivery = _delivery(ledger, entry, envelope)
        delivery.waits_for_eta = bool(envelope.headers.get("eta"))
        delivery.size = self._rules.size_of(delivery)
        return delivery

    def _is_ours(self, delivery: Delivery) -> bool:
        """Whether the handler shall have it; if not, it goes where it belongs."""
        try:
            if is_condemned(delivery.crashes, self._rules.max_deliveries):
                self.dead_letter(delivery, poison(delivery))
            elif not self._rules.is_registered(delivery.envelope.task):
                self._put_back_or_bury(delivery)
            elif not self._is_plain(delivery):
                self.standard.deliver(delivery)
            elif self.is_wanted(delivery):
                if self._events.wanted:
                    self._events.received(delivery)
                return True
        except RedisError as error:  # its lease runs out, and it comes again
            logger.warning("Task %s[%s] waits, for Redis fails: %s", *delivery.name, error)
            self.drop(delivery)
        except Exception as error:  # a bug of ours must cost one task, not the worker
            logger.exception("Task %s can't be handed on", delivery.id)
            self.fail(delivery, ServiceError(f"The worker failed with {type(error).__name__}."))
        return False

    def _is_plain(self, delivery: Delivery) -> bool:
        envelope = delivery.envelope
        if self._rules.everything_standard or envelope.task not in self._rules.tasks:
            return False
        return envelope.is_plain and not self._is_limited(envelope.task)

    def _put_back_or_bury(self, delivery: Delivery) -> None:
        """Leave a task that is not registered here to a worker that knows it, for some seconds."""
        task = delivery.envelope.task
        is_ours = task.startswith(self._rules.namespace)
        if is_ours or not self.put_back_unknown(delivery, UNKNOWN_PATIENCE_S):
            self.dead_letter(delivery, unknown_task(delivery), NotRegistered(task))
            return
        self._intake.give_way(UNKNOWN_PATIENCE_S)
        if task not in self._unknown_tasks and len(self._unknown_tasks) < MOST_UNKNOWN_TOLD:
            self._unknown_tasks.add(task)
            logger.warning(
                "Put back the task %s, which is not registered here; unless another worker takes "
                "it within %g s it becomes a dead letter. Send it to its own workers' queue, not "
                "to clip-worker's (CLIP_WORKER_QUEUE), which is %s.",
                *(quote(task), UNKNOWN_PATIENCE_S, quote(delivery.ledger.keys.queue)),
            )

    def _turn(self) -> None:
        self._watch()
        oldest = time.monotonic() - self._rules.task_timeout_s
        for delivery in self.held.all():
            # Celery's own wait for an ETA or a rate limit, or are a user's; ours end themselves.
            if delivery.progressed_at < oldest and not self.standard.has(delivery):
                error = self._rules.timeout_error()
                (delivery.time_out or partial(self.fail, delivery))(error)


def _delivery(ledger: Ledger, entry: Entry, envelope: Envelope) -> Delivery:
    tag, crashes, message, held_until = entry
    return Delivery(ledger, envelope, message, crashes, [tag], held_until=held_until)
