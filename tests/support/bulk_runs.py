"""A feed, a sink and workers for the tests of bulk runs, all in this process."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from support.answers import ANSWER
from support.sent_messages import read_message

from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX, QueueKeys
from clip_worker.contract.tenants import TENANT_HEADER
from clip_worker.errors import ClipWorkerError
from clip_worker.feeds.item import Item
from clip_worker.sinks.row import Row


class ListFeed:
    """A feed of URIs `https://example.com/0.jpg` and so on; `reads` counts the items it yielded."""

    def __init__(self, count: int) -> None:
        self.total = count
        self.reads = 0

    def items(self, position: str | None) -> Iterator[Item]:
        for number in range(0 if position is None else int(position) + 1, self.total):
            self.reads += 1
            yield item(number)


def item(number: int) -> Item:
    return Item(f"{number}", f"https://example.com/{number}.jpg", position=str(number))


class ListSink:
    """A sink in memory, that forgets what was not committed when it is opened again."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.is_open = False

    @property
    def keys(self) -> list[str]:
        return [row.item.key for row in self.rows]

    def open(self, position: str | None) -> None:
        assert position is not None or not self.rows, "a new run must find nothing, as in a file"
        self.is_open = True
        del self.rows[int(position or 0) :]

    def write(self, rows: Sequence[Row]) -> Sequence[Row]:
        self.rows += rows
        return ()

    def commit(self) -> str:
        return str(len(self.rows))

    def close(self) -> None:
        self.is_open = False


class AnsweringWorkers:
    """Answers every message that waits in a queue, when it is called.

    Args:
        redis: Has the queue and the results.
        fails: The error for an image's URI, if it has one.

    Attributes:
        images: URIs of the images that were worked on.
        tenants: Whose they are; None for nobody's.
        fails: As above.
        is_away: Whether they do nothing.
        at_once: Maximum number of messages that they answer in a call.
    """

    def __init__(
        self, redis: Any, fails: Callable[[str], ClipWorkerError | None] = lambda _uri: None
    ) -> None:
        self._redis = redis
        self.fails = fails
        self.images: list[str] = []
        self.tenants: list[str | None] = []
        self.is_away = False
        self.at_once = sys.maxsize

    def __call__(self, _seconds: float = 0.0) -> None:
        for message in itertools.islice(self._messages(), self.at_once):
            self.tenants.append(json.loads(message)["headers"].get(TENANT_HEADER))
            self._answer(*read_message(message))

    def _messages(self) -> Iterator[bytes]:
        keys = QueueKeys(DEFAULT_QUEUE)
        for name in (*keys.lists, *self._redis.keys(f"{keys.tenant_base}:[0369]:*")):
            while not self.is_away and (message := self._redis.rpop(name)):
                yield message

    def _answer(self, task_id: str, arguments: dict[str, Any]) -> None:
        image = arguments["image"]
        self.images.append(image)
        if error := self.fails(image):
            stored = {
                "status": "FAILURE",
                "result": {
                    "exc_type": type(error).__name__,
                    "exc_message": list(error.args),
                    "exc_module": type(error).__module__,
                },
            }
        else:
            stored = {"status": "SUCCESS", "result": ANSWER.model_dump(mode="json")}
        self._redis.set(RESULT_PREFIX + task_id, json.dumps(stored | {"task_id": task_id}))
