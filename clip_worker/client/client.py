"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from clip_worker.client.arguments import (
    Labels,
    check_count,
    iterated,
    name_of,
    options_of,
    uri_of,
)
from clip_worker.client.handle import Handle
from clip_worker.client.image_chunks import decode_outcomes
from clip_worker.client.image_file import check_max_bytes
from clip_worker.client.image_request import ImageRequest
from clip_worker.client.outcome_stream import OutcomeStream
from clip_worker.client.parts import ClientParts
from clip_worker.client.push_plan import QueueLimit, WhenFull
from clip_worker.client.result_reader import DEFAULT_TTL_S as RESULT_TTL_S
from clip_worker.client.search import Search
from clip_worker.client.storage import Storage
from clip_worker.client.task_encoder import SendOptions
from clip_worker.contract import (
    DEFAULT_K,
    DEFAULT_SCORE,
    MAX_IMAGES,
    RequestOptions,
    Score,
    parse,
)
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.contract.message_writer import EncodedRequest
from clip_worker.contract.results import Classification, Outcome
from clip_worker.contract.uri import MAX_IMAGE_BYTES
from clip_worker.redis.url import DEFAULT_REDIS_URL

DEFAULT_CHUNK = 32  # images per message of `classify_many`
MAX_IN_FLIGHT = 10_000
DEFAULT_IN_FLIGHT = 64  # messages of `classify_many` in flight at a time


class Client(Search, Storage):
    """Sends images to the workers and reads the results. Thread-safe.

    Args:
        url: Redis that the workers take tasks from: `redis://`, `rediss://`, or sentinels
            (`sentinel://host1:26379;sentinel://host2:26379/0?master=mymaster`).
        result_url: Redis that they store results in, if it is another one.
        queue: Queue that they take tasks from.
        max_queue_length: Maximum number of messages waiting in the queue; None for no limit. It is
            checked in the same atomic step that sends the messages.
        when_full: `"error"` to raise `QueueFullError`, `"wait"` to wait for room.
        wait_limit_s: Longest wait for room, in seconds; after that it raises as well.
        result_ttl_s: How long the workers keep results, in seconds: the longest wait for one.
        max_upload_bytes: The largest image that `upload` sends: by default the largest that workers
            accept by default (`CLIP_WORKER_MAX_BYTES`).
        signing_keys: The workers' `CLIP_WORKER_SIGNING_KEYS`, if they have any: the first one signs
            the messages.

    Raises:
        InvalidRequestError: `BAD_REDIS_URL`, or another argument is invalid.
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
        max_upload_bytes: int = MAX_IMAGE_BYTES,
        signing_keys: str | None = None,
    ) -> None:
        limit = QueueLimit.of(max_queue_length, when_full, wait_limit_s)
        parts = ClientParts.build(url, result_url, queue, limit, result_ttl_s, signing_keys)
        super().__init__(url, parts, check_max_bytes(max_upload_bytes))
        self._app = parts.app
        self._results = parts.results
        self._submission = parts.submission
        self.dead_letters = parts.dead_letters

    def classify(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        image: str,
        labels: Labels | None = None,
        *,
        label_set: str | None = None,
        k: int = DEFAULT_K,
        template: str | None = None,
        templates: Iterable[str] | None = None,
        ensemble: str | None = None,
        score: Score = DEFAULT_SCORE,
        none_of_these: bool = False,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        task_id: str | None = None,
        priority: int = 0,
        tenant: str | None = None,
        expires_s: float | None = None,
        result_ttl_s: float | None = None,
        webhook: str | None = None,
    ) -> Handle[Classification]:
        """Send one image and return at once.

        Args:
            image: URI of the image (`https:`, `s3:`, `file:`, `data:`), or what `upload` returned.
            labels: Distinct labels: a list, a tuple, a generator or an array of strings; or
            label_set: the name of labels that `put_label_set` has stored.
            k: Maximum number of predictions.
            template: Prompt for a label, with one `{}`; or
            templates: several, whose features are averaged; or
            ensemble: the name of a set of templates that the worker has.
            score: What orders the labels and is compared with `threshold`: `softmax`, the
                probabilities over all labels; `sigmoid`, a probability for each label by itself;
                `cosine` or `logit`, which come in addition to the softmax.
            none_of_these: Add the probability that no label fits to the result.
            threshold: Omit predictions with a lower score: in [0, 1] for softmax and sigmoid, in
                [-1, 1] for cosine. By default those of the label set's calibration, if it has one.
            deadline: Unix time in seconds after which the task fails instead of running on.
            return_embedding: Add the image's embedding to the result.
            task_id: The task's id, if it must not be sent twice: where a task with it was sent
                before, within a day or `result_ttl_s` of the client, nothing is sent.
            priority: 0 to 9, 0 the most urgent.
            tenant: Name of the customer whose image it is; customers take turns.
            expires_s: Seconds from now after which the task fails instead of running.
            result_ttl_s: How long its result is kept, in seconds; at most, and by default, as long
                as the workers keep results.
            webhook: URL that the worker posts the result to.

        Raises:
            InvalidRequestError: The request is invalid; nothing was sent.
            QueueFullError: `max_queue_length` messages are waiting.
            QueueUnavailableError: Redis can't be reached or accepts no messages.
        """
        request = {**options_of(locals()), "image": uri_of(image)}
        sent = self._submission.send_one(request, SendOptions(priority, expires_s, tenant), task_id)
        decode = Classification.model_validate
        return Handle(self._results, sent, decode, time.time(), result_ttl_s)

    def submit_many(  # noqa: D417, PLR0913  # as for `classify`, which describes them
        self,
        requests: Iterable[str | ImageRequest],
        labels: Labels | None = None,
        *,
        label_set: str | None = None,
        k: int = DEFAULT_K,
        template: str | None = None,
        templates: Iterable[str] | None = None,
        ensemble: str | None = None,
        score: Score = DEFAULT_SCORE,
        none_of_these: bool = False,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        priority: int = 0,
        tenant: str | None = None,
        expires_s: float | None = None,
        result_ttl_s: float | None = None,
        webhook: str | None = None,
    ) -> list[Handle[Classification]]:
        """Send many images, each with its own message and handle.

        It sends thousands of messages a second, hundreds per round trip. `as_completed` yields the
        handles as their tasks end; `classify_many` is for images that may share a message.

        Args:
            requests: URIs, or mappings with options that differ from those of the others, such as
                `{"image": uri, "labels": [...], "k": 1}`; `task_id` may be one of them.

        All others are as for `classify`, for all images without their own.

        Returns:
            Handles in the order of `requests`.

        Raises:
            InvalidRequestError: A request is invalid; nothing was sent.
            QueueFullError: There is no room for all of them (`when_full="error"`: nothing was
                sent), or there was none for `wait_limit_s`.
            QueueUnavailableError: Redis can't be reached, or accepts no messages. `sent` of either
                error has the ids of the tasks that were sent before it.
        """
        shared = options_of(locals())
        each = iterated(requests, "requests", "call classify() for a single image")
        ids = self._submission.send_many(each, shared, SendOptions(priority, expires_s, tenant))
        now, decode = time.time(), Classification.model_validate
        return [Handle(self._results, task_id, decode, now, result_ttl_s) for task_id in ids]

    def handle(self, task_id: str) -> Handle[Classification]:
        """The handle of a `clip.classify` task that was sent earlier, perhaps by another process.

        Raises:
            InvalidRequestError: The id is not a string, or is empty.
        """
        return Handle(self._results, name_of("task_id", task_id), Classification.model_validate)

    def classify_many(  # noqa: D417, PLR0913  # as for `classify`
        self,
        images: Iterable[str],
        labels: Labels | None = None,
        *,
        chunk: int = DEFAULT_CHUNK,
        in_flight: int = DEFAULT_IN_FLIGHT,
        timeout: float | None = None,
        label_set: str | None = None,
        k: int = DEFAULT_K,
        template: str | None = None,
        templates: Iterable[str] | None = None,
        ensemble: str | None = None,
        score: Score = DEFAULT_SCORE,
        none_of_these: bool = False,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        priority: int = 0,
        tenant: str | None = None,
        expires_s: float | None = None,
        result_ttl_s: float | None = None,
        keep_results: bool = False,
    ) -> Iterator[tuple[int, Outcome]]:
        """Send many images with the same options, and yield each outcome as it arrives.

        The images may be a generator of millions: only `chunk * in_flight` of them are in flight.
        If a message fails because of one of its images (`POISON`, `TASK_TIMEOUT`), each of them
        is sent once more, in its own message.

        Args:
            images: URIs.
            labels: Distinct labels.
            chunk: Images per message, 1 to 512.
            in_flight: Maximum number of messages in flight.
            timeout: Longest wait for the next message to end, in seconds; None as for `Handle.get`.
            keep_results: Whether results stay in Redis for their lifetime once they were read.

        All others are as for `classify`; `expires_s` is counted from when a message is sent.

        Returns:
            An iterator over pairs of an image's position in `images` and its outcome; an image
            that fails has one too. It raises `QueueUnavailableError`, `QueueFullError` and
            `ResultTimeoutError`.

        Raises:
            InvalidRequestError: The options, `chunk` or `in_flight` are invalid, or `images` is a
                single image; nothing was sent.
        """
        encoded = EncodedRequest(parse(RequestOptions, options_of(locals())))
        check_count("chunk", chunk, MAX_IMAGES)
        check_count("in_flight", in_flight, MAX_IN_FLIGHT)
        send_options = SendOptions(priority, expires_s, tenant)

        def send(uris: list[str]) -> Handle[list[Outcome]]:
            task_id = self._submission.send_chunk(encoded, uris, send_options)
            return Handle(self._results, task_id, decode_outcomes, time.time(), result_ttl_s)

        each = iterated(images, "images", "call classify() for a single image")
        stream = OutcomeStream(
            each,
            send,
            chunk=chunk,
            in_flight=in_flight,
            timeout=timeout,
            keep_results=keep_results,
        )
        return stream.outcomes()
