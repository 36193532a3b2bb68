"""Messages, made before the clock starts, by the client that users would use."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from celery import Celery
from redis import Redis

from benchmarks.bench.names import QUEUE
from clip_worker import Client

TASK = "bench.classify"
PIPELINED = 5_000


class Sender(Protocol):
    """Publishes one task, and gives its id."""

    def send(self, image: str, labels: Sequence[str]) -> str:
        """Publish."""

    def close(self) -> None:
        """Close connections."""


class ClipWorkerSender:
    """Sends to clip-worker, with its own client."""

    def __init__(self, url: str) -> None:
        self.client = Client(url)

    def send(self, image: str, labels: Sequence[str]) -> str:
        """Publish `clip.classify`."""
        return self.client.classify(f"file://{image}", labels).id

    def close(self) -> None:
        """Close connections."""
        self.client.close()


class CelerySender:
    """Sends to a plain Celery contender, as its users would."""

    def __init__(self, url: str) -> None:
        self._app = Celery("bench-producer", broker=url, set_as_current=False)
        # Nobody subscribes to results here, which would cost the contender's producer a round trip.
        self._app.conf.update(task_ignore_result=False, result_backend=None)

    def send(self, image: str, labels: Sequence[str]) -> str:
        """Publish the contenders' task."""
        kwargs = {"image": image, "labels": list(labels)}
        return str(self._app.send_task(TASK, kwargs=kwargs, queue=QUEUE).id)

    def close(self) -> None:
        """Close connections."""
        self._app.close()


def send_all(sender: Sender, tasks: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Publish images with their labels; the tasks' ids."""
    return [sender.send(image, labels) for image, labels in tasks]


def take_template(scratch: Redis) -> bytes:
    """Take the one message that a sender has just left in the scratch database."""
    message = scratch.rpop(QUEUE)
    assert isinstance(message, bytes), "a sender has left one message there"
    scratch.flushdb()
    return message


def push_copies(redis: Redis, template: bytes, count: int, queue: str = QUEUE) -> list[str]:
    """Put copies of a message into a list, each with an id and a delivery tag of its own.

    Publishing a million for real takes minutes, and is not what is measured.
    """
    return push_cycled(redis, [template], count, queue)


def push_cycled(
    redis: Redis, templates: Sequence[bytes], count: int, queue: str = QUEUE
) -> list[str]:
    """Put `count` copies of several messages into a list, the messages over and over in turn."""
    parts = itertools.cycle([_split(template) for template in templates])
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for chunk in (ids[i : i + PIPELINED] for i in range(0, count, PIPELINED)):
        redis.lpush(queue, *(_filled(next(parts), one) for one in chunk))
    return ids


def _split(template: bytes) -> list[str]:
    """A message cut at its id and its delivery tag.

    Split once, joined a million times: id and tag stand in the message several times.
    """
    fields: dict[str, Any] = json.loads(template)
    task_id, tag = fields["headers"]["id"], fields["properties"]["delivery_tag"]
    return template.decode().replace(tag, "\0tag\0").replace(task_id, "\0id\0").split("\0")


def _filled(parts: Sequence[str], task_id: str) -> str:
    values = {"tag": str(uuid.uuid4()), "id": task_id}
    return "".join(values.get(part, part) for part in parts)


def cycled(
    images: Sequence[str], lists: Iterable[list[str]], count: int
) -> list[tuple[str, list[str]]]:
    """`count` tasks: the images over and over, each with the next list of labels."""
    pairs = zip(itertools.cycle(images), lists, strict=False)
    return list(itertools.islice(pairs, count))
