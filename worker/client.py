"""The Python producer: `Client(url).classify(image, labels, k=5).get()`.

It loads neither torch nor the engine, so a web backend can import it. It is sugar: any Celery
client that sends `clip.classify` with the same arguments gets the same answer (`worker.contract`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from redis import Redis

from worker.client_errors import translated
from worker.contract import (
    CLASSIFY,
    CLASSIFY_MANY,
    MAX_IMAGES,
    SENT_AT_HEADER,
    Classification,
    ClassifyManyRequest,
    ClassifyRequest,
    Outcome,
    Question,
    parse,
)
from worker.errors import InvalidRequestError
from worker.handle import Handle, as_completed
from worker.label_sets import LabelSets
from worker.redis_celery import RedisCelery, redis_configuration
from worker.redis_url import check_redis_url, connect
from worker.settings import DEFAULT_REDIS_URL
from worker.sources.upload import DEFAULT_TTL_S, UploadStore

DEFAULT_CHUNK = 32  # pictures a message of `classify_many`
MAX_IN_FLIGHT = 10_000
DEFAULT_IN_FLIGHT = 64  # messages of `classify_many` that are under way at a time
# Redis may be restarting: three more attempts within about a second, then the caller hears of it.
PUBLISH_RETRY = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}

_Chunk: TypeAlias = Handle[list[Outcome]]


class Client:
    """Sends pictures to be tagged and reads the answers. Threads may share it.

    Args:
        url: Redis that the workers take tasks from.
        result_url: Redis that they store results in, if it is another.
        queue: Queue that they take tasks from.

    Raises:
        InvalidRequestError: `BAD_REDIS_URL`.
    """

    def __init__(
        self,
        url: str = DEFAULT_REDIS_URL,
        *,
        result_url: str | None = None,
        queue: str = "celery",
    ) -> None:
        self.url = url
        backend = f"worker.client_backend.LazyRedisBackend+{check_redis_url(result_url or url)}"
        self._app = RedisCelery("clip-worker-client", set_as_current=False)
        self._app.conf.update(
            redis_configuration(url, backend), task_default_queue=queue, broker_pool_limit=10
        )
        self._redis: Redis = connect(check_redis_url(url))
        self._label_sets = LabelSets(self._redis)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._app.close()
        self._redis.close()

    def classify(
        self, image: str, labels: Sequence[str] | None = None, **question: Any
    ) -> Handle[Classification]:
        """Ask for the most probable labels of one picture; returns at once.

        Args:
            image: URI of the picture (`https:`, `s3:`, `file:`, `data:`), or what `upload` gave.
            labels: Different labels.
            question: Any of `label_set`, `k`, `template`, `templates`, `ensemble`, `threshold`,
                `deadline`, `return_embedding`; see `worker.contract.Question`.

        Raises:
            InvalidRequestError: The request is wrong; nothing was sent.
            QueueUnavailableError: Redis can't be reached.
        """
        request = parse(ClassifyRequest, _given(image=image, labels=labels, **question))
        task_id = self._send(CLASSIFY, request.model_dump(mode="json", exclude_none=True))
        return self.handle(task_id)

    def handle(self, task_id: str) -> Handle[Classification]:
        """The handle of a `clip.classify` task that was sent earlier, perhaps elsewhere."""
        return Handle(self._app, self.url, task_id, Classification.model_validate)

    def classify_many(
        self,
        images: Iterable[str],
        labels: Sequence[str] | None = None,
        *,
        chunk: int = DEFAULT_CHUNK,
        in_flight: int = DEFAULT_IN_FLIGHT,
        timeout: float | None = None,
        **question: Any,
    ) -> Iterator[tuple[int, Outcome]]:
        """Ask the same of many pictures and give each outcome as it comes.

        The pictures may be a generator of millions: only `chunk * in_flight` of them are under way.

        Args:
            images: URIs.
            labels: Different labels.
            chunk: Pictures a message, 1 to 512.
            in_flight: Messages under way at a time.
            timeout: Longest wait for the next outcome, in seconds; None for no limit.
            question: As for `classify`.

        Returns:
            An iterator of a picture's position in `images` and its outcome; a picture that fails
            has one too. It raises `QueueUnavailableError` and `ResultTimeoutError`.

        Raises:
            InvalidRequestError: The question, `chunk` or `in_flight` is wrong; nothing was sent.
        """
        _check_count("chunk", chunk, MAX_IMAGES)
        _check_count("in_flight", in_flight, MAX_IN_FLIGHT)
        asked = _given(labels=labels, **question)
        parse(Question, asked)
        return self._stream(self._send_chunks(images, chunk, asked), in_flight, timeout)

    def _stream(
        self, chunks: Iterator[tuple[_Chunk, int]], in_flight: int, timeout: float | None
    ) -> Iterator[tuple[int, Outcome]]:
        under_way = dict(itertools.islice(chunks, in_flight))
        while under_way:
            done = next(as_completed(list(under_way), timeout=timeout))
            first = under_way.pop(done)
            under_way.update(itertools.islice(chunks, 1))
            yield from enumerate(done.get(timeout), start=first)

    def upload(self, data: bytes, ttl_s: float = DEFAULT_TTL_S) -> str:
        """Store a picture's bytes in Redis for a while, for workers that can't see your files.

        Args:
            data: An encoded picture.
            ttl_s: How long it is kept, in seconds; a day by default.

        Returns:
            A URI for `classify`. The same bytes have the same URI and are stored once.

        Raises:
            QueueUnavailableError: Redis can't be reached or is full.
        """
        with translated(self.url):
            return UploadStore(self._redis, ttl_s).put(data)

    def put_label_set(self, name: str, labels: Sequence[str]) -> str:
        """Store labels under a name, for `label_set=name`; workers use a new version within 5 s.

        Returns:
            The version: 12 hexadecimal digits that depend on the labels alone.

        Raises:
            InvalidRequestError: The name or the labels are wrong.
            QueueUnavailableError: Redis can't be reached.
        """
        parse(Question, {"label_set": name})
        parse(Question, {"labels": labels})
        with translated(self.url):
            return self._label_sets.put(name, labels)

    def ping(self) -> None:
        """Ask Redis for a sign of life.

        Raises:
            QueueUnavailableError: There is none within 5 seconds.
        """
        with translated(self.url):
            self._redis.ping()

    def _send(self, task: str, arguments: dict[str, Any]) -> str:
        with translated(self.url):
            sent = self._app.send_task(
                task,
                kwargs=arguments,
                headers={SENT_AT_HEADER: time.time()},
                retry=True,
                retry_policy=PUBLISH_RETRY,
            )
        return str(sent.id)

    def _send_chunks(
        self, images: Iterable[str], size: int, question: dict[str, Any]
    ) -> Iterator[tuple[_Chunk, int]]:
        """Send a chunk when one is asked for; give its handle and its first picture's index."""
        left, first = iter(images), 0
        while chunk := list(itertools.islice(left, size)):
            request = parse(ClassifyManyRequest, {"images": chunk, **question})
            task_id = self._send(CLASSIFY_MANY, request.model_dump(mode="json", exclude_none=True))
            yield Handle(self._app, self.url, task_id, _outcomes), first
            first += len(chunk)


def _check_count(name: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise InvalidRequestError(f"{name} is {count!r}; give 1 to {most}.")


def _outcomes(results: list[dict[str, Any]]) -> list[Outcome]:
    return [Outcome.model_validate(result) for result in results]


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
