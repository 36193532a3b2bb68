"""Reads, replays and purges dead letters: messages that the workers gave up.

`worker.delivery` writes them. For the queue Q they are the hash `clip-worker:Q:dead`, task id to
letter, and the sorted set `clip-worker:Q:dead-index`, task id by the Unix time at which it was
given up. The error is stored as the task's result.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from clip_worker.contract.keys import RESULT_PREFIX, QueueKeys, dead_index_key, dead_key
from clip_worker.contract.message_reader import UnreadableMessageError
from clip_worker.contract.resigning import resigned
from clip_worker.contract.signatures import BAD_SIGNATURE
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.quoting import quote
from clip_worker.redis.error_translation import translated

if TYPE_CHECKING:
    from redis import Redis

    from clip_worker.contract.signatures import SigningKey

UNREADABLE = "UNREADABLE"  # code of a message that no worker can read
TOO_LARGE = "MESSAGE_TOO_LARGE"  # code of a message of which only the begin and end were kept
LOST = (UNREADABLE, TOO_LARGE)  # what can't be replayed
UNDELIVERED = "WEBHOOK_UNDELIVERED"  # code of what could not be posted to a webhook

# KEYS: letters, index, queue, result ('' if in another Redis). ARGV: id, letter as it was read,
# message. -> 1 if it was replayed, 0 if the letter was changed or removed meanwhile.
_REPLAY = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if KEYS[4] ~= '' then redis.call('DEL', KEYS[4]) end
redis.call('LPUSH', KEYS[3], ARGV[3])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""
# KEYS: letters, index, webhooks, their posts. ARGV: id, letter as it was read, post. -> as above
_REPLAY_POST = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""


class Incident(BaseModel):
    """One crash of a worker in the history of a message, or one failed attempt at a post.

    Attributes:
        kind: What happened; `crash`: the worker died; `post`: the webhook's server failed.
        at: Unix time in seconds at which the task, or the attempt, was started.
        worker: Name of the worker.
        together: Number of messages that were started, including this one; 0 if unknown.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    at: float
    worker: str
    together: int = 0


class DeadLetter(BaseModel):
    """A message, or a post to a webhook, that was given up.

    Attributes:
        id: The task's id; of a post its own.
        task: The task's name.
        reason: The error message.
        code: The error's code.
        died_at: Unix time in seconds at which it was given up.
        history: Earlier crashes, or attempts, oldest first.
        message: The message as the producer wrote it, in JSON; or what was to be posted.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    task: str
    reason: str
    code: str
    died_at: float
    history: tuple[Incident, ...]
    message: str

    @property
    def is_post(self) -> bool:
        """Whether it is a post to a webhook."""
        return self.code == UNDELIVERED

    def encode(self) -> str:
        """The letter as JSON, as it is stored in Redis."""
        return self.model_dump_json()

    @classmethod
    def decode(cls, stored: str | bytes) -> Self:
        """Decode a stored letter; unknown fields of newer versions are ignored.

        Raises:
            ServiceError: `BAD_DEAD_LETTER`.
        """
        try:
            return cls.model_validate_json(stored)
        except ValidationError as error:
            raise ServiceError(
                f"The stored dead letter {quote(stored)} can't be read; delete it, or read it with "
                "the version of clip-worker that wrote it.",
                "BAD_DEAD_LETTER",
            ) from error


class DeadLetters:
    """The dead letters of one queue. Each method may raise `QueueUnavailableError`.

    Args:
        redis: Client of the Redis that the queue is in; it returns bytes.
        url: URL of that Redis, for error messages.
        queue: Name of the queue.
        results: Client of the Redis that results are stored in, if it is another one.
        signing_keys: Those of the workers, if they have any: the first signs what is replayed.
    """

    def __init__(
        self,
        redis: Redis,
        url: str,
        queue: str,
        results: Redis | None = None,
        signing_keys: Sequence[SigningKey] = (),
    ) -> None:
        self._signing_keys = signing_keys
        self.queue = queue
        self._redis = redis
        self._url = url
        self._results = results
        self._replay = redis.register_script(_REPLAY)
        self._replay_post = redis.register_script(_REPLAY_POST)

    def __len__(self) -> int:
        with translated(self._url):
            return self._redis.zcard(dead_index_key(self.queue))

    def ids(self) -> list[str]:
        """The ids of all dead letters, oldest first."""
        with translated(self._url):
            stored = cast("list[bytes]", self._redis.zrange(dead_index_key(self.queue), 0, -1))
        return [task_id.decode() for task_id in stored]

    def newest(self, limit: int) -> list[DeadLetter]:
        """The newest dead letters, newest first.

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
        """A dead letter; None if there is none with this id.

        Raises:
            ServiceError: `BAD_DEAD_LETTER`.
        """
        with translated(self._url):
            [stored] = self._stored([task_id])
        return None if stored is None else DeadLetter.decode(stored)

    def replay(self, task_ids: Iterable[str]) -> list[str]:
        """Put messages back onto the queue and delete the errors stored as their results.

        Posts to webhooks are due again, as if none had been tried. Each is replayed in one atomic
        step: it is either in the queue or a dead letter.

        Returns:
            The ids that are not dead letters (any more).

        Raises:
            InvalidRequestError: `UNREADABLE`, `MESSAGE_TOO_LARGE`: no worker can read the message,
                so it stays a dead letter. `BAD_SIGNATURE`: none of the signing keys has signed it.
            ServiceError: `BAD_DEAD_LETTER`.
        """
        with translated(self._url):
            return [task_id for task_id in task_ids if not self._replay_one(task_id)]

    def purge(self, task_ids: Iterable[str]) -> list[str]:
        """Delete messages for good; the errors stored as their results are kept.

        Returns:
            The ids that are not dead letters.
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
        if letter.code in LOST:
            raise InvalidRequestError(
                f"The dead letter {quote(task_id)} can't be replayed. {letter.reason} Send a "
                "corrected task, then purge this one.",
                letter.code,
            )
        letters = [dead_key(self.queue), dead_index_key(self.queue)]
        args: list[str | bytes] = [task_id, stored, letter.message]
        if self._signing_keys and not letter.is_post:
            args[2] = self._resigned(letter)
        if letter.is_post:
            keys = QueueKeys(self.queue)
            places = [*letters, keys.webhooks, keys.webhook_posts]
            return bool(self._replay_post(keys=places, args=args))
        result = RESULT_PREFIX + task_id
        if self._results is not None:  # before the task can run again and store a new result
            self._results.delete(result)
        here = result if self._results is None else ""
        return bool(self._replay(keys=[*letters, self.queue, here], args=args))

    def _resigned(self, letter: DeadLetter) -> str:
        try:
            return resigned(letter.message, self._signing_keys, self.queue, time.time())
        except UnreadableMessageError as error:
            raise InvalidRequestError(
                f"The dead letter {quote(letter.id)} can't be replayed: {error}.", BAD_SIGNATURE
            ) from error

    def _purge_one(self, task_id: str) -> bool:
        with self._redis.pipeline(transaction=True) as both:
            both.hdel(dead_key(self.queue), _field(task_id))
            both.zrem(dead_index_key(self.queue), _field(task_id))
            return any(both.execute())


def _field(task_id: str | bytes) -> bytes:
    """A task's id in Redis; an id with a lone surrogate is changed to one that does not exist."""
    return task_id if isinstance(task_id, bytes) else task_id.encode(errors="backslashreplace")
