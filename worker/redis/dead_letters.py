"""Reads, replays and purges dead letters: messages that were given up.

`worker.delivery` writes them. For the queue Q they are the hash `clip-worker:Q:dead`, task id to
letter, and the sorted set `clip-worker:Q:dead-index`, task id by the Unix time at which it was
given up. The task's failure is stored as its result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.contract.keys import RESULT_PREFIX, dead_index_key, dead_key
from worker.errors import InvalidRequestError, ServiceError
from worker.quoting import quote
from worker.redis.error_translation import translated

if TYPE_CHECKING:
    from redis import Redis

UNREADABLE = "UNREADABLE"  # code of a message that no worker can read

# KEYS: letters, index, queue, result ('' if it lies elsewhere). ARGV: id, letter as it was read,
# message. -> 1 if it was replayed, 0 if the letter is another by now or none.
_REPLAY = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if KEYS[4] ~= '' then redis.call('DEL', KEYS[4]) end
redis.call('LPUSH', KEYS[3], ARGV[3])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""


class Incident(BaseModel):
    """One crash of a worker in the history of a message.

    Attributes:
        kind: What happened; `crash`: the worker died.
        at: Unix time in seconds when that run of the task began.
        worker: Name of the worker.
        together: Messages in the making with it, itself included; 0 where that is not known.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    at: float
    worker: str
    together: int = 0


class DeadLetter(BaseModel):
    """A message that was given up.

    Attributes:
        id: The task's id.
        task: The task's name.
        reason: One sentence for a person.
        code: Stable name for programs.
        died_at: Unix time in seconds at which it was given up.
        history: What happened to it before, in the order of time.
        message: As the producer wrote it: Celery's envelope, JSON.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    task: str
    reason: str
    code: str
    died_at: float
    history: tuple[Incident, ...]
    message: str

    def encode(self) -> str:
        """The letter as it is stored in Redis: JSON."""
        return self.model_dump_json()

    @classmethod
    def decode(cls, stored: str | bytes) -> Self:
        """What `encode` wrote; fields that a newer version adds are left out.

        Raises:
            ServiceError: `BAD_DEAD_LETTER`.
        """
        try:
            return cls.model_validate_json(stored)
        except ValidationError as error:
            raise ServiceError(
                f"What Redis holds as a dead letter is none: {quote(stored)}.", "BAD_DEAD_LETTER"
            ) from error


class DeadLetters:
    """The dead letters of one queue. Each method may raise `QueueUnavailableError`.

    Args:
        redis: Where the queue is; a client that gives bytes.
        url: Of that Redis, for sentences.
        queue: Its name.
        results: Where results lie, if not there.
    """

    def __init__(self, redis: Redis, url: str, queue: str, results: Redis | None = None) -> None:
        self.queue = queue
        self._redis = redis
        self._url = url
        self._results = results
        self._replay = redis.register_script(_REPLAY)

    def __len__(self) -> int:
        with translated(self._url):
            return self._redis.zcard(dead_index_key(self.queue))

    def ids(self) -> list[str]:
        """Of all, in the order in which they were given up."""
        with translated(self._url):
            stored = cast("list[bytes]", self._redis.zrange(dead_index_key(self.queue), 0, -1))
        return [task_id.decode() for task_id in stored]

    def newest(self, limit: int) -> list[DeadLetter]:
        """The last ones that were given up, the newest first.

        Raises:
            ServiceError: `BAD_DEAD_LETTER`.
        """
        if limit < 1:
            return []
        with translated(self._url):
            index = dead_index_key(self.queue)
            ids = cast("list[bytes]", self._redis.zrevrange(index, 0, limit - 1))
            stored = self._stored(ids)
        return [DeadLetter.decode(letter) for letter in stored if letter is not None]

    def get(self, task_id: str) -> DeadLetter | None:
        """A dead letter; None if it is not there.

        Raises:
            ServiceError: `BAD_DEAD_LETTER`.
        """
        with translated(self._url):
            [stored] = self._stored([task_id])
        return None if stored is None else DeadLetter.decode(stored)

    def replay(self, task_ids: Iterable[str]) -> list[str]:
        """Put messages back onto the queue, and let their callers wait again.

        Each is one step in Redis: it is in the queue or a dead letter, never neither, never both.

        Returns:
            Those that are no dead letters, or are none any more.

        Raises:
            InvalidRequestError: `UNREADABLE`: a message that no worker can read would only come
                back; it stays a dead letter.
            ServiceError: `BAD_DEAD_LETTER`.
        """
        with translated(self._url):
            return [task_id for task_id in task_ids if not self._replay_one(task_id)]

    def purge(self, task_ids: Iterable[str]) -> list[str]:
        """Delete messages for good; the failures that their callers see stay.

        Returns:
            Those that are no dead letters.
        """
        with translated(self._url):
            return [task_id for task_id in task_ids if not self._purge_one(task_id)]

    def _stored(self, task_ids: Sequence[str | bytes]) -> list[bytes | None]:
        if not task_ids:
            return []
        letters = self._redis.hmget(dead_key(self.queue), list(map(_field, task_ids)))
        return cast("list[bytes | None]", letters)

    def _replay_one(self, task_id: str) -> bool:
        [stored] = self._stored([task_id])
        if stored is None:
            return False
        letter = DeadLetter.decode(stored)
        if letter.code == UNREADABLE:
            raise InvalidRequestError(
                f"The dead letter {quote(task_id)} can't be replayed. {letter.reason} Send the "
                "task again as it should be, then purge this one.",
                UNREADABLE,
            )
        result = RESULT_PREFIX + task_id
        if self._results is not None:  # before the message can run and store another
            self._results.delete(result)
        keys = [dead_key(self.queue), dead_index_key(self.queue), self.queue]
        here = result if self._results is None else ""
        return bool(self._replay(keys=[*keys, here], args=[task_id, stored, letter.message]))

    def _purge_one(self, task_id: str) -> bool:
        with self._redis.pipeline(transaction=True) as both:
            both.hdel(dead_key(self.queue), _field(task_id))
            both.zrem(dead_index_key(self.queue), _field(task_id))
            return any(both.execute())


def _field(task_id: str | bytes) -> bytes:
    """A task's id as Redis has it; one with a lone surrogate is none that it could have."""
    return task_id if isinstance(task_id, bytes) else task_id.encode(errors="backslashreplace")
