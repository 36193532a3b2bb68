"""Where each message stands: the atomic moves between queue, unacknowledged set, result and dead.

Each method is one Lua script, and each may be repeated after a lost reply: what is done is not done
twice, since a tag that is no longer held is left alone. No method retries; redis-py's errors pass.
"""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from worker.delivery.arrivals import ListWait
from worker.delivery.chunks import chunks
from worker.delivery.lease_clock import lease_clock
from worker.delivery.unacked_entry import Crash, UnackedEntry
from worker.redis.commands import RedisCalls
from worker.redis.dead_letters import dead_index_key, dead_key
from worker.redis.errors import Fault, fault_of
from worker.redis.url import SOCKET_TIMEOUT_S

if TYPE_CHECKING:
    from redis import Redis

    from worker.delivery.keys import QueueKeys
    from worker.redis.dead_letters import DeadLetter

SCRIPTS = ("take", "start", "finish", "give_back", "extend", "put_back", "reap", "bury", "probe")
MOST_REAPED = 500  # entries a call, so that Redis is not held up
MOST_TAKEN = 1000  # likewise; and Lua's stack is finite
MOST_BYTES = 32 * 1024 * 1024  # likewise: that end a call; pictures may stand in their messages
MOST_MOVED = 1000  # likewise: tags a call


class Finished(NamedTuple):
    """What becomes of a message that is done.

    Attributes:
        tag: Of the delivery.
        key: Where its result goes; empty for none.
        result: As Celery's result backend stores it.
    """

    tag: str
    key: str = ""
    result: str | bytes = b""


class RedisQueue:
    """One queue's books in Redis. Threads may share it.

    Args:
        redis: Client that gives bytes.
        keys: Of the queue.
        lease_s: How long a message is held without renewal.
        result_ttl_s: How long a result is kept.
        clock: See `lease_clock`.
    """

    def __init__(
        self,
        redis: Redis,
        keys: QueueKeys,
        *,
        lease_s: float,
        result_ttl_s: float,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        self.keys = keys
        self.lease_s = lease_s
        self._redis = redis
        self._result_ttl_s = max(1, round(result_ttl_s))
        self._calls = RedisCalls(redis)
        self._scripts = {name: redis.register_script(_source(name)) for name in SCRIPTS}
        self._clock = clock
        self._takes = itertools.count()
        # Names of takes whose reply never came, and when they were first sent.
        self._unanswered: deque[tuple[str, float]] = deque()
        self._redis_ahead_s: float | None = None  # of `clock`
        self._name = secrets.token_hex(6)
        moves = zip(keys.lists, keys.arrived, strict=True)
        self.waits = tuple(ListWait(redis, source, target) for source, target in moves)

    def probe(self) -> None:
        """Try what the scripts need.

        Raises:
            ResponseError: This Redis can't do it; kombu's own transport must serve.
        """
        place = f"{self.keys.tick}:probe:{self._name}"
        self._run("probe", [place])
        try:
            self._redis.blmove(place, place, 0.01, "RIGHT", "RIGHT")  # type: ignore[arg-type]  # float
        except ResponseError as error:
            if fault_of(error) is not Fault.MEMORY:  # what is known is refused for that
                raise

    def take(self, most: int, suspects: int = 0) -> list[UnackedEntry]:
        """Move messages into the unacknowledged set, under a lease.

        The message that brings the take to `MOST_BYTES` is its last, so a take of large ones
        gives fewer than there are.

        Args:
            most: At most so many from the queue.
            suspects: At most so many of those that a crash returned.
        """
        keys = self.keys
        name, sent = self._next_take()
        places = [keys.unacked, keys.leases, keys.returned]
        places += itertools.chain.from_iterable(zip(keys.arrived, keys.lists, strict=True))
        args = [min(most, MOST_TAKEN), suspects, self.lease_s, name, self._latest()]
        args.append(MOST_BYTES)
        try:
            now, *taken = self._run("take", places, args)
        except BaseException:  # it may have been carried out, or may be yet
            self._unanswered.append((name, sent))
            raise
        self._redis_ahead_s = float(now) - self._clock()
        held_until = sent + self.lease_s
        return [
            UnackedEntry.decode(tag, entry, held_until)
            for tag, entry in zip(taken[::2], taken[1::2], strict=True)
        ]

    def _next_take(self) -> tuple[str, float]:
        """One whose reply never came is asked for again, so that what it took is not left lying."""
        try:
            return self._unanswered.popleft()
        except IndexError:
            return f"{self._name}-{next(self._takes)}-", self._clock()

    def _latest(self) -> float | str:
        """By Redis's clock, when a take that is sent now is given up; "" if that is not known."""
        if self._redis_ahead_s is None:
            return ""
        return self._clock() + self._redis_ahead_s + SOCKET_TIMEOUT_S

    def start(self, tags: Sequence[str], crash: Crash) -> list[bool]:
        """Note that these are in the making, before they are.

        Args:
            tags: Of deliveries.
            crash: What their history gets if this process dies now.

        Returns:
            For each tag whether it is still held; what is not must not be begun.
        """
        keys = self.keys
        held = self._run("start", [keys.unacked, keys.started], [crash.encode(), *tags])
        return [bool(flag) for flag in held]

    def finish(self, done: Sequence[Finished]) -> list[bool]:
        """Store results and let go of their messages, all in one step.

        Returns:
            For each whether it was still held; if not, its result was not stored.
        """
        keys = self.keys
        held = self._run(
            "finish",
            [keys.unacked, keys.leases, keys.started],
            [self._result_ttl_s, *itertools.chain.from_iterable(done)],
        )
        return [bool(flag) for flag in held]

    def give_back(self, tags: Sequence[str]) -> int:
        """Put messages back where they came from, to be taken next; how many were held.

        The last of them is the first to be taken again.
        """
        keys = self.keys
        held = [keys.unacked, keys.leases, keys.started, keys.returned]
        count = 0
        while tags:
            went, looked = self._run("give_back", held, [MOST_BYTES, *tags[:MOST_MOVED]])
            count, tags = count + int(went), tags[int(looked) :]
        return count

    def renew(self, tags: Iterable[str]) -> set[str]:
        """Start the leases of held messages anew; the tags that are no longer held."""
        return self.extend(tags, self.lease_s)

    def extend(self, tags: Iterable[str], seconds: float) -> set[str]:
        """Let the leases of held messages end so many seconds from now; the tags not held."""
        gone: set[str] = set()
        for chunk in chunks(tags, MOST_MOVED):
            lost = self._run("extend", [self.keys.leases], [seconds, *chunk])
            gone.update(tag.decode() for tag in lost)
        return gone

    def put_back(self, tags: Sequence[str], task_id: str, patience_s: float) -> bool:
        """Put a message back after a pause that grows, unless that has been done for long enough.

        Args:
            tags: Of the delivery.
            task_id: What the workers that see it know it by.
            patience_s: How long after its first putting back it is put back again.

        Returns:
            Whether it goes back.
        """
        keys = self.keys
        places = [keys.unacked, keys.leases, keys.started, keys.unknown]
        return bool(self._run("put_back", places, [task_id, patience_s, *tags]))

    def reap(self, longest_gap_s: float) -> tuple[int, int]:
        """Return messages whose lease has run out.

        Args:
            longest_gap_s: If no worker reaped for longer, none could renew: nothing is returned,
                and all leases last for as long again.

        Returns:
            How many went back, and how many of these had been started.
        """
        keys = self.keys
        places = [keys.unacked, keys.leases, keys.started, keys.returned, keys.tick]
        is_more: Any = True
        while is_more:
            args = [longest_gap_s, MOST_REAPED, MOST_BYTES]
            count, blamed, is_more = self._run("reap", places, args)
        return int(count), int(blamed)

    def bury(self, letter: DeadLetter, failure: Finished) -> bool:
        """File a dead letter and store the failure for its caller; whether it was still held."""
        keys, queue = self.keys, self.keys.queue
        return bool(
            self._run(
                "bury",
                [
                    *(keys.unacked, keys.leases, keys.started),
                    *(dead_key(queue), dead_index_key(queue)),
                ],
                [
                    *(failure.tag, letter.id, letter.encode(), letter.died_at),
                    *(failure.key, failure.result, self._result_ttl_s),
                ],
            )
        )

    def stop_waiting(self) -> None:
        """End all waits for messages."""
        for wait in self.waits:
            wait.hang_up()

    def close(self) -> None:
        """Close the client's connections."""
        self._redis.close()

    def _run(self, script: str, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        return self._calls.run(self._scripts[script], keys, args)


@cache
def _source(name: str) -> str:
    return (resources.files("worker.delivery") / "lua" / f"{name}.lua").read_text()
