"""One queue in Redis: the atomic moves of messages between queue, worker, result and dead letters.

Each method is one Lua script, and each may be repeated after a lost reply: what is done is not done
twice, since a tag that is no longer held is left alone. No method retries; redis-py's errors pass.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from redis.exceptions import ResponseError

from clip_worker.contract import MAX_MESSAGE_BYTES
from clip_worker.contract.keys import dead_index_key, dead_key
from clip_worker.contract.tenants import TENANT_HEADER
from clip_worker.redis.commands import Commands
from clip_worker.redis.errors import Fault, fault_of
from clip_worker.redis.tenants import PUT
from worker.delivery.arrivals import ListWait
from worker.delivery.delivery import Ack, Crash, Delivery, Lease, lease_clock
from worker.webhooks.post import new_event_id

if TYPE_CHECKING:
    from redis import Redis

    from clip_worker.contract.keys import QueueKeys
    from clip_worker.redis.dead_letters import DeadLetter

SCRIPTS = ("take", "start", "finish", "release", "reap")
REQUEUING = ("release", "reap")  # scripts that begin with requeue.lua
OF_TENANTS = ("take", "merge", *REQUEUING)  # those that know the lists of tenants
# Bounds of one call, so that Redis is not held up, and Lua's stack is finite.
MOST_MESSAGES = 1000
MOST_BYTES = 32 * 1024 * 1024  # of messages, in which images may stand
MOST_SORTED = 500  # messages from the queue's own lists, into those of their tenants

Item = TypeVar("Item")


class Look(NamedTuple):
    """What a worker found when it looked for lapsed leases.

    Attributes:
        reclaimed: Messages that went back from workers that are gone.
        suspects: Those of them that were being worked on.
        is_waiting: Whether messages wait to be taken.
        since_last_s: Seconds since any worker last looked.
    """

    reclaimed: int
    suspects: int
    is_waiting: bool
    since_last_s: float


class RedisQueue:
    """A Celery queue in Redis, as one worker process uses it. Threads may share it.

    Args:
        redis: Client that gives bytes.
        keys: Of the queue.
        lease_s: How long this worker's messages are held without renewal.
        result_ttl_s: How long a result is kept, unless its task asks for less.
        most_message_bytes: Size of the largest message that is taken whole.
        posts_due: Called when posts to webhooks are due.
        answered: Called with the seconds of each round trip.
        clock: See `lease_clock`.
    """

    def __init__(  # noqa: PLR0913  # what may be set, by name
        self,
        redis: Redis,
        keys: QueueKeys,
        *,
        lease_s: float,
        result_ttl_s: float,
        most_message_bytes: int = MAX_MESSAGE_BYTES,
        posts_due: Callable[[], None] = lambda: None,
        answered: Callable[[float], object] = lambda _seconds: None,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        self.keys = keys
        self.lease_s = lease_s
        self.lease = Lease(self, clock())
        self._redis = redis
        self._result_ttl_s = max(1, round(result_ttl_s))
        self._commands = Commands(redis, answered)
        self._scripts = {name: redis.register_script(source_of(name)) for name in SCRIPTS}
        self._most_message_bytes = most_message_bytes
        self._posts_due = posts_due
        self._clock = clock
        self._takes = itertools.count()
        self._losing = threading.Lock()
        moves = [*zip(keys.lists, keys.arrived, strict=True), (keys.tenants, keys.tenants_arrived)]
        self.waits = tuple(ListWait(redis, source, target) for source, target in moves)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.keys.queue

    def probe(self) -> None:
        """Try a script, and the newest command that is needed.

        Raises:
            ResponseError: This Redis can't do it; kombu's own transport must serve.
        """
        self.take(0)
        place = f"{self.keys.tick}:probe:{self.lease.name}"
        try:
            self._redis.blmove(place, place, 0.01, "RIGHT", "RIGHT")  # type: ignore[arg-type]  # float
        except ResponseError as error:
            if fault_of(error) is not Fault.MEMORY:  # what is known is refused for that
                raise

    def take(self, most: int, suspects: int = 0) -> list[Delivery]:
        """Take messages, under this worker's lease, or a new one if that has lapsed.

        While tenants have messages, each gives one in turn, the most urgent of its own.
        The message that brings a take to `MOST_BYTES` is its last.

        Args:
            most: At most so many from the queue.
            suspects: At most so many whose workers died.
        """
        keys, lease, sent = self.keys, self.lease, self._clock()
        name = f"{lease.name}-{next(self._takes)}-"
        places = [keys.leases, keys.unacked(lease.name), keys.suspects]
        places += itertools.chain.from_iterable(zip(keys.arrived, keys.lists, strict=True))
        args = [lease.name, self.lease_s, int(lease.is_new), name]
        args += [min(most, MOST_MESSAGES), suspects, MOST_BYTES, self._most_message_bytes]
        args += [keys.tenant_base, MOST_SORTED, TENANT_HEADER]
        taken = self.run("take", places, args)
        if taken is None:
            self._lose(lease)
            return self.take(most, suspects)
        if lease.is_new:
            lease.is_new, lease.ends_at = False, sent + self.lease_s
        pairs = zip(taken[::2], taken[1::2], strict=True)
        return [Delivery.decode(lease, tag, entry) for tag, entry in pairs]

    def start(self, lease: Lease, tags: Sequence[str], crash: Crash) -> list[bool]:
        """Note what this worker works on from now on.

        Args:
            lease: What it was taken under.
            tags: Of deliveries.
            crash: What their histories get if this process dies now.

        Returns:
            For each tag whether it is still held; what is not must not be begun.
        """
        keys, line = self.keys, crash.encode()
        places = [keys.leases, keys.unacked(lease.name), keys.started(lease.name)]
        held: list[int] = []
        for some in _parts(tags):
            held += self.run("start", places, [lease.name, line, *some])
        return [bool(flag) for flag in held]

    def finish(
        self, lease: Lease, acks: Sequence[Ack], letter: DeadLetter | None = None
    ) -> list[bool]:
        """Store results, acknowledge their messages, and drop what only they used, in one step.

        A failure is not stored over a success: then its message had been sent twice.

        Args:
            lease: What they were taken under.
            acks: The messages, taken under that lease, and their results.
            letter: A dead letter to file in the same step, for one message.

        Returns:
            For each whether it was still held; if not, its result was not stored.
        """
        dead = (letter.id, letter.encode(), letter.died_at) if letter else ("", "", "")
        keys, name = self.keys, lease.name
        places = [keys.unacked(name), keys.started(name), dead_key(self.name)]
        places += [dead_index_key(self.name), keys.webhooks, keys.webhook_posts]
        held: list[int] = []
        for some in _parts(acks):
            args = [*dead, *itertools.chain.from_iterable(map(self._written, some))]
            held += self.run("finish", places, args)
        if any(ack.post for ack in acks):
            self._posts_due()
        return [bool(flag) for flag in held]

    def _written(self, ack: Ack) -> tuple[str | int, ...]:
        ttl_s = self._result_ttl_s
        if ack.ttl_s is not None:
            ttl_s = max(1, min(ttl_s, ack.ttl_s))
        uses = json.dumps([*itertools.chain.from_iterable(ack.uses)]) if ack.uses else ""
        post = (new_event_id(), ack.post.encode()) if ack.post else ("", "")
        return ack.delivery.tag, ack.key, ack.result, ttl_s, uses, *post

    def requeue(self, lease: Lease, tags: Sequence[str]) -> int:
        """Put messages back, the last of them to be taken first; how many were held."""
        count = 0
        while tags:
            went, looked = self._release(lease, tags[:MOST_MESSAGES])
            count, tags = count + went, tags[looked:]
        return count

    def park(self, delivery: Delivery, patience_s: float) -> bool:
        """Put a message back after a pause that grows, unless that has been done for long enough.

        Args:
            delivery: Workers know it by its id.
            patience_s: How long after the first time it is put back again.

        Returns:
            Whether it goes back.
        """
        return self._release(delivery.lease, [delivery.tag], delivery.id, patience_s)[1] > 0

    def _release(
        self, lease: Lease, tags: Sequence[str], unknown_id: str = "", patience_s: float = 0.0
    ) -> tuple[int, int]:
        keys, name = self.keys, lease.name
        places = [keys.unacked(name), keys.started(name), keys.suspects, keys.leases, keys.unknown]
        args = [MOST_BYTES, unknown_id, patience_s, keys.unacked("")]
        args += [keys.tenant_base, *tags]
        went, looked = self.run("release", places, args)
        return int(went), int(looked)

    def reap(self, longest_gap_s: float, lease_s: float | None = None) -> Look:
        """Renew this worker's lease, and reclaim the messages of those that have lapsed.

        Args:
            longest_gap_s: If no worker looked for longer, none could renew: nothing is reclaimed,
                and all leases last for as long again.
            lease_s: How long the lease lasts from now on, if not as usual; 0 to let it lapse.
        """
        keys, lease, sent = self.keys, self.lease, self._clock()
        was_new = lease.is_new  # a take on another thread may begin it meanwhile
        places = [keys.leases, keys.tick, keys.webhooks]
        places += [keys.suspects, *keys.arrived, *keys.lists, keys.tenants, keys.tenants_arrived]
        lease_s = self.lease_s if lease_s is None else lease_s
        args = [lease.name, lease_s, longest_gap_s, MOST_MESSAGES, MOST_BYTES]
        args += [keys.unacked(""), keys.started(""), keys.tenant_base]
        is_ours, count, blamed, is_more, waiting, since, posts = self.run("reap", places, args)
        if is_ours:
            lease.ends_at = sent + lease_s
        elif not was_new:
            self._lose(lease)
        while is_more:
            _, more, more_blamed, is_more, waiting, _, posts = self.run("reap", places, args)
            count, blamed = count + more, blamed + more_blamed
        if posts:
            self._posts_due()
        return Look(count, blamed, bool(waiting), float(since))

    def tags(self, lease: Lease) -> set[str]:
        """Those of all messages that are held under a lease."""
        fields: Any = self._commands("HKEYS", self.keys.unacked(lease.name))
        return {field.decode() for field in fields}

    def leave_lapsed(self) -> None:
        """Begin a new lease if this one may have lapsed; for a worker that holds nothing."""
        if self._clock() >= self.lease.ends_at:
            self._lose(self.lease)

    def _lose(self, lease: Lease) -> None:
        """Go on under a new lease; what was taken under this one is other workers' now."""
        with self._losing:
            lease.is_lost = True
            if lease is self.lease:
                self.lease = Lease(self, self._clock())

    def stop_waiting(self) -> None:
        """End all waits for messages."""
        for wait in self.waits:
            wait.hang_up()

    def close(self) -> None:
        """Close the client's connections."""
        self._redis.close()

    def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script of `worker/delivery/lua`; all others here do their work by this."""
        return self._commands.run(self._scripts[script], keys, args)


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[i : i + MOST_MESSAGES] for i in range(0, len(items), MOST_MESSAGES))


@cache
def source_of(name: str) -> str:
    """The text of a script of `worker/delivery/lua`."""
    folder = resources.files("worker.delivery") / "lua"
    files = ("requeue", name) if name in REQUEUING else (name,)
    parts = [(folder / f"{file}.lua").read_text() for file in files]
    return "\n".join([PUT, *parts] if name in OF_TENANTS else parts)
