"""Celery messages by the thousand, and where each of them is.

One message is made by Celery itself; the others are copies with an id of their own, pushed in
pipelines, since Celery's own way costs half a millisecond each.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import redis
from celery import Celery

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

TASK = "clip.classify"  # of our worker, and by that name of all that it is compared with
QUEUE = DEFAULT_QUEUE
CHUNK = 1000
RESULTS = "celery-task-meta-"
OURS = QueueKeys(QUEUE)
# Patterns of keys: kombu's, the same as our workers name them, and those of our queue consumer.
UNACKNOWLEDGED = ("unacked", "clip-worker:kombu:unacked", OURS.unacked("*"))
QUEUED = (*OURS.lists, *OURS.arrived, OURS.suspects)
# All values of the hashes whose keys match.
_ALL_VALUES = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  for _, value in ipairs(redis.call('HVALS', key)) do
    found[#found + 1] = value
  end
end
return found
"""
_ID = re.compile(rb'"id": ?"([0-9a-f-]{36})"')
_NUMBER = re.compile(r"(?:drill|torture)-(\d+)")


def number_of(image: str) -> int:
    """The task's number, from the URI of its picture."""
    found = _NUMBER.search(image)
    if not found:
        raise ValueError(f"{image!r} has no number")
    return int(found[1])


class Messages:
    """Sends tasks and finds them again.

    Args:
        client: Of the Redis.
        url: The same Redis, for Celery.
        image: From a number to the picture's URI.
    """

    def __init__(
        self, client: redis.Redis, url: str, image: Callable[[int], str] = "drill-{}".format
    ) -> None:
        self.numbers: dict[str, int] = {}  # by task id
        self._redis = client
        self._image = image
        self._template = _template(client, url)

    def send(self, count: int) -> list[int]:
        """Send so many more tasks; their numbers."""
        first = len(self.numbers)
        numbers = list(range(first, first + count))
        for i in range(0, count, CHUNK):
            chunk = [self._message(number) for number in numbers[i : i + CHUNK]]
            self._redis.lpush(QUEUE, *chunk)
        return numbers

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return int(self._redis.llen(QUEUE))

    def done(self) -> set[int]:
        """Those with a result."""
        return self._with_results(self._redis.scan_iter(RESULTS + "*", count=CHUNK))

    def unacknowledged(self) -> set[int]:
        """Those in flight, by kombu's books or ours."""
        values = (self._redis.eval(_ALL_VALUES, 0, pattern) for pattern in UNACKNOWLEDGED)
        return self._found(chain.from_iterable(values))

    def queued(self) -> set[int]:
        """Those in the queue, or returned by a crash."""
        return self._found(v for key in QUEUED for v in self._redis.lrange(key, 0, -1))

    def lost(self) -> set[int]:
        """Those that are nowhere.

        In one transaction: looked for in one place after the other, a message that moves meanwhile
        would seem to be in none.
        """
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.keys(RESULTS + "*")
            for pattern in UNACKNOWLEDGED:
                pipe.eval(_ALL_VALUES, 0, pattern)
            for key in QUEUED:
                pipe.lrange(key, 0, -1)
            results, *elsewhere = pipe.execute()
        present = self._with_results(results) | self._found(chain.from_iterable(elsewhere))
        return set(self.numbers.values()) - present

    def _with_results(self, keys: Iterable[bytes]) -> set[int]:
        ids = (key.decode().removeprefix(RESULTS) for key in keys)
        return {self.numbers[id_] for id_ in ids if id_ in self.numbers}

    def _found(self, messages: Iterable[bytes]) -> set[int]:
        ids = {id_.decode() for message in messages for id_ in _ID.findall(message)}
        return {self.numbers[id_] for id_ in ids if id_ in self.numbers}

    def _message(self, number: int) -> bytes:
        message = json.loads(self._template)
        id_ = str(uuid.uuid4())
        self.numbers[id_] = number
        arguments = {"image": self._image(number), "labels": ["red circle", "blue square"]}
        body = json.dumps([[], arguments, {"callbacks": None, "errbacks": None, "chain": None,
                                           "chord": None}])  # fmt: skip
        message["body"] = base64.b64encode(body.encode()).decode()
        message["headers"] |= {"id": id_, "root_id": id_}
        message["properties"] |= {"correlation_id": id_, "delivery_tag": str(uuid.uuid4())}
        return json.dumps(message).encode()


def _template(client: redis.Redis, url: str) -> bytes:
    with Celery(broker=url, set_as_current=False) as app:
        app.send_task(TASK, kwargs={}, queue=QUEUE)
    popped: Any = client.lpop(QUEUE)
    return bytes(popped)
