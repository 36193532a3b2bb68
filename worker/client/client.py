"""The Python producer: `Client(url).classify(image, labels, k=5).get()`.

It loads neither torch nor the engine, so a web backend can import it. Any other Celery
client that sends `clip.classify` with the same arguments gets the same result (`worker.contract`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from worker.client.arguments import (
    Bytes,
    Labels,
    given,
    iterated,
    listed,
    name_of,
    picture_bytes,
    uri_of,
)
from worker.client.handle import Handle
from worker.client.outcome_stream import OutcomeStream
from worker.client.publisher import Bound, Publisher, WhenFull
from worker.client.result_reader import DEFAULT_TTL_S as RESULT_TTL_S
from worker.client.result_reader import StoredResults
from worker.client.submission import Post, Request, Submission
from worker.client.subscription import MOST_IDLE, MOST_SUBSCRIPTIONS
from worker.contract import CLASSIFY_MANY, MAX_IMAGES, RequestOptions, parse
from worker.contract.message_writer import EncodedRequest, MessageWriter
from worker.contract.request_cache import RequestCache
from worker.contract.results import Classification, Outcome
from worker.errors import InvalidRequestError
from worker.redis.celery_app import RedisCelery, redis_configuration
from worker.redis.dead_letters import DeadLetters
from worker.redis.error_translation import translated
from worker.redis.label_sets import LabelSets
from worker.redis.url import check_redis_url, connect
from worker.settings import DEFAULT_QUEUE, DEFAULT_REDIS_URL
from worker.sources.upload import DEFAULT_TTL_S, UploadStore

DEFAULT_CHUNK = 32  # pictures a message of `classify_many`
MAX_IN_FLIGHT = 10_000
DEFAULT_IN_FLIGHT = 64  # messages of `classify_many` that are under way at a time


class Client:
    """Sends images to be tagged and reads the results. Threads may share it.

    Args:
        url: Redis that the workers take tasks from: `redis://`, `rediss://`, or sentinels
            (`sentinel://host1:26379;sentinel://host2:26379/0?master=mymaster`).
        result_url: Redis that they store results in, if it is another.
        queue: Queue that they take tasks from.
        max_queue_length: Messages that may be waiting in the queue; None for any number. It is
            checked in the same step in which messages are sent.
        when_full: `"error"` to raise `QueueFullError`, `"wait"` to wait for room.
        wait_limit_s: Longest wait for room, in seconds; then it is an error all the same.
        result_ttl_s: How long the workers keep results, in seconds; nobody waits for longer.

    Raises:
        InvalidRequestError: `BAD_REDIS_URL`, or a wrong bound.
    """

    def __init__(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        url: str = DEFAULT_REDIS_URL,
        *,
        result_url: str | None = None,
        queue: str = DEFAULT_QUEUE,
        max_queue_length: int | None = None,
        when_full: WhenFull = "error",
        wait_limit_s: float = 60.0,
        result_ttl_s: float = RESULT_TTL_S,
    ) -> None:
        self.url = check_redis_url(url)
        name_of("queue", queue)
        results_url = check_redis_url(result_url or url)
        self._app = RedisCelery("clip-worker-client", set_as_current=False)
        self._app.conf.update(redis_configuration(url, results_url), task_default_queue=queue)
        self._redis = connect(url)
        self._results_redis = self._redis if results_url == url else connect(results_url)
        subscribed = connect(results_url, most=MOST_SUBSCRIPTIONS + MOST_IDLE)
        self._results = StoredResults(
            self._results_redis, subscribed, results_url, self._app, result_ttl_s
        )
        self._label_sets = LabelSets(self._redis)
        bound = (
            None if max_queue_length is None else Bound(max_queue_length, when_full, wait_limit_s)
        )
        publisher = Publisher(self._redis, url, queue, bound)
        self._submission = Submission(MessageWriter(queue), publisher, RequestCache(EncodedRequest))
        elsewhere = None if self._results_redis is self._redis else self._results_redis
        self.dead_letters = DeadLetters(self._redis, url, queue, elsewhere)

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
        self._results.close()
        self._redis.close()
        self._results_redis.close()

    def classify(
        self,
        image: str,
        labels: Labels | None = None,
        *,
        priority: int = 0,
        expires_s: float | None = None,
        **question: Any,
    ) -> Handle[Classification]:
        """Send one image to be tagged; returns at once.

        Args:
            image: URI of the picture (`https:`, `s3:`, `file:`, `data:`), or what `upload` gave.
            labels: Different labels: a list, a tuple, a generator or an array of strings.
            priority: 0 to 9, 0 the most urgent.
            expires_s: Seconds from now after which the task fails instead of being run.
            question: Any of `label_set`, `k`, `template`, `templates`, `ensemble`, `threshold`,
                `deadline`, `return_embedding`; see `worker.contract.RequestOptions`.

        Raises:
            InvalidRequestError: The request is wrong; nothing was sent.
            QueueFullError: `max_queue_length` messages are waiting.
            QueueUnavailableError: Redis can't be reached, or takes nothing.
        """
        request = given({"image": uri_of(image), "labels": labels, **question})
        task_id = self._submission.send_one(request, Post(priority, expires_s))
        return Handle(self._results, task_id, Classification.model_validate, time.time())

    def submit_many(
        self,
        requests: Iterable[Request],
        labels: Labels | None = None,
        *,
        priority: int = 0,
        expires_s: float | None = None,
        **question: Any,
    ) -> list[Handle[Classification]]:
        """Send many images, each with a message and a handle of its own.

        It sends some thousands of messages a second, hundreds a round trip. `as_completed` gives
        the answers as they come; `classify_many` is for pictures that may share a message.

        Args:
            requests: URIs; or, for pictures that are asked something of their own, mappings such as
                `{"image": uri, "labels": [...], "k": 1}`.
            labels: Different labels, for all pictures that have none of their own.
            priority: 0 to 9, 0 the most urgent.
            expires_s: Seconds from now after which a task fails instead of being run.
            question: As for `classify`, for all pictures.

        Returns:
            Handles in the order of `requests`.

        Raises:
            InvalidRequestError: A request is wrong; nothing was sent.
            QueueFullError: There is no room for all of them (`when_full="error"`: nothing was
                sent), or there was none for `wait_limit_s`.
            QueueUnavailableError: Redis can't be reached, or takes nothing. Here as there the
                error's `sent` has the ids of those tasks that were sent before it.
        """
        asked = given({"labels": labels, **question})
        each = iterated(requests, "requests", "ask about one picture with classify()")
        ids = self._submission.send_many(each, asked, Post(priority, expires_s))
        now = time.time()
        return [
            Handle(self._results, task_id, Classification.model_validate, now) for task_id in ids
        ]

    def handle(self, task_id: str) -> Handle[Classification]:
        """The handle of a `clip.classify` task that was sent earlier, perhaps elsewhere.

        Raises:
            InvalidRequestError: It is no id.
        """
        return Handle(self._results, name_of("task_id", task_id), Classification.model_validate)

    def classify_many(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        images: Iterable[str],
        labels: Labels | None = None,
        *,
        chunk: int = DEFAULT_CHUNK,
        in_flight: int = DEFAULT_IN_FLIGHT,
        timeout: float | None = None,
        priority: int = 0,
        expires_s: float | None = None,
        **question: Any,
    ) -> Iterator[tuple[int, Outcome]]:
        """Send many images with the same request, and yield each outcome as it comes.

        The pictures may be a generator of millions: only `chunk * in_flight` of them are under way.
        If a message fails because of one of its pictures (`POISON`, `TASK_TIMEOUT`), each of them
        is sent once more, in a message of its own.

        Args:
            images: URIs.
            labels: Different labels.
            chunk: Pictures a message, 1 to 512.
            in_flight: Messages under way at a time.
            timeout: Longest wait for the next message to end, in seconds; None as for `Handle.get`.
            priority: As for `classify`.
            expires_s: As for `classify`, from when the message is sent.
            question: As for `classify`.

        Returns:
            An iterator of a picture's position in `images` and its outcome; a picture that fails
            has one too. It raises `QueueUnavailableError`, `QueueFullError` and
            `ResultTimeoutError`.

        Raises:
            InvalidRequestError: The question, `chunk` or `in_flight` is wrong, or `images` is a
                single one; nothing was sent.
        """
        _check_count("chunk", chunk, MAX_IMAGES)
        _check_count("in_flight", in_flight, MAX_IN_FLIGHT)
        asked = EncodedRequest(parse(RequestOptions, given({"labels": labels, **question})))
        post = Post(priority, expires_s)

        def send(uris: list[str]) -> Handle[list[Outcome]]:
            task_id = self._submission.send(CLASSIFY_MANY, asked.about_many(uris), post)
            return Handle(self._results, task_id, _outcomes, time.time())

        each = iterated(images, "images", "ask about one picture with classify()")
        stream = OutcomeStream(each, send, chunk=chunk, in_flight=in_flight, timeout=timeout)
        return stream.outcomes()

    def upload(self, data: Bytes | os.PathLike[str], ttl_s: float = DEFAULT_TTL_S) -> str:
        """Store a picture's bytes in Redis for a while, for workers that can't see your files.

        Args:
            data: An encoded picture, or the path of its file.
            ttl_s: How long it is kept, in seconds; a day by default.

        Returns:
            A URI for `classify`. The same bytes have the same URI and are stored once.

        Raises:
            InvalidRequestError: It is neither bytes nor a path, or there are no bytes.
            ImageUnavailableError: The file can't be read, or is too large for Redis.
            QueueUnavailableError: Redis can't be reached or is full.
        """
        encoded = picture_bytes(data)
        if not 0 < ttl_s < float("inf"):
            raise InvalidRequestError(f"ttl_s is {ttl_s!r}; give a number of seconds above 0.")
        with translated(self.url):
            return UploadStore(self._redis, ttl_s).put(encoded)

    def put_label_set(self, name: str, labels: Labels) -> str:
        """Store labels under a name, for `label_set=name`; workers use a new version within 5 s.

        Returns:
            The version: 12 hexadecimal digits that depend on the labels alone.

        Raises:
            InvalidRequestError: The name or the labels are wrong.
            QueueUnavailableError: Redis can't be reached.
        """
        parse(RequestOptions, {"label_set": name})
        kept = listed(labels, "labels", "BAD_LABELS")
        parse(RequestOptions, {"labels": kept})
        with translated(self.url):
            return self._label_sets.put(name, kept)

    def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            QueueUnavailableError: There is none within 5 seconds.
        """
        with translated(self.url):
            self._redis.ping()


def _check_count(name: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise InvalidRequestError(f"{name} is {count!r}; give 1 to {most}.")


def _outcomes(results: list[dict[str, Any]]) -> list[Outcome]:
    return [Outcome.model_validate(result) for result in results]
