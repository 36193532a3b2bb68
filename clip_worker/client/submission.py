"""Converts requests to messages and sends them, one or many at a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from clip_worker.client.arguments import given, uri_of
from clip_worker.contract import CLASSIFY, RequestOptions, parse
from clip_worker.contract.message_writer import Arguments, EncodedRequest
from clip_worker.contract.uri import validate_uri
from clip_worker.errors import InvalidRequestError, TemporaryError

if TYPE_CHECKING:
    from clip_worker.client.publisher import Publisher
    from clip_worker.contract.message_writer import MessageWriter
    from clip_worker.contract.request_cache import RequestCache

Request: TypeAlias = str | Mapping[str, Any]  # a URI, or a mapping with `image` and own options
LEAST_URGENT = 9


@dataclass(frozen=True)
class SendOptions:
    """Options for sending messages.

    Attributes:
        priority: 0 to 9, 0 the most urgent.
        expires_s: Seconds from sending after which the task expires; None for never.
    """

    priority: int = 0
    expires_s: float | None = None

    def __post_init__(self) -> None:
        if self.priority not in range(LEAST_URGENT + 1):
            raise InvalidRequestError(
                f"priority is {self.priority!r}; pass 0 (most urgent) to {LEAST_URGENT}."
            )
        if self.expires_s is not None and not 0 < self.expires_s < float("inf"):
            raise InvalidRequestError(
                f"expires_s is {self.expires_s!r}; pass a number of seconds above 0."
            )


class Submission:
    """Writes messages and sends them. Thread-safe.

    Args:
        writer: Writes the messages.
        publisher: Sends them.
        cache: Requests that were encoded before.
    """

    def __init__(
        self, writer: MessageWriter, publisher: Publisher, cache: RequestCache[EncodedRequest]
    ) -> None:
        self._writer = writer
        self._publisher = publisher
        self._cache = cache

    def send_one(self, request: Mapping[str, Any], options: SendOptions) -> str:
        """Send one `clip.classify` task and return its id.

        Args:
            request: `image` and the request's options.
            options: Priority and expiry.

        Raises:
            InvalidRequestError: The request is invalid; nothing was sent.
            QueueFullError: See `Publisher.send`.
            QueueUnavailableError: Likewise.
        """
        return self.send(CLASSIFY, self._encode(request), options)

    def send(self, task: str, arguments: Arguments, options: SendOptions) -> str:
        """Send one task and return its id.

        Raises:
            QueueFullError: See `Publisher.send`.
            QueueUnavailableError: Likewise.
        """
        [task_id] = self._send([arguments], task, options)
        return task_id

    def send_many(
        self, requests: Iterable[Request], shared: Mapping[str, Any], options: SendOptions
    ) -> list[str]:
        """Send one `clip.classify` task for each request and return their ids, in order.

        Args:
            requests: URIs, or mappings with `image` and options that override `shared`.
            shared: Options of all requests, validated and encoded once.
            options: Priority and expiry.

        Raises:
            InvalidRequestError: A request is invalid; nothing was sent.
            QueueFullError: See `Publisher.send`; `sent` has the ids of the tasks sent before.
            QueueUnavailableError: Likewise.
        """
        return self._send(self._encode_all(requests, shared), CLASSIFY, options)

    def _send(self, arguments: Sequence[Arguments], task: str, options: SendOptions) -> list[str]:
        ids = [str(uuid.uuid4()) for _ in arguments]
        messages = (
            self._writer.write(
                task_id, task, given, priority=options.priority, expires_s=options.expires_s
            )
            for task_id, given in zip(ids, arguments, strict=True)
        )
        sent = 0
        try:
            for count in self._publisher.send(messages, len(ids), options.priority):
                sent += count
        except TemporaryError as error:
            error.sent = tuple(ids[:sent])
            raise
        return ids

    def _encode_all(
        self, requests: Iterable[Request], shared: Mapping[str, Any]
    ) -> list[Arguments]:
        """Encode all of them, so that an invalid one is reported before any is sent."""
        encoded: list[EncodedRequest] = []  # `shared`, as soon as a request needs it
        arguments = []
        for index, request in enumerate(requests):
            try:
                arguments.append(self._encode_one(request, shared, encoded))
            except InvalidRequestError as error:
                raise InvalidRequestError(
                    f"Request {index}: {error.message}", error.code
                ) from error
        return arguments

    def _encode_one(
        self, request: Request, shared: Mapping[str, Any], encoded: list[EncodedRequest]
    ) -> Arguments:
        if isinstance(request, Mapping):
            own = given(request)
            if "image" in own:
                own["image"] = uri_of(own["image"])
            return self._encode({**shared, **own})
        if not encoded:
            encoded.append(EncodedRequest(parse(RequestOptions, shared)))
        return encoded[0].with_image(validate_uri(uri_of(request)))

    def _encode(self, request: Mapping[str, Any]) -> Arguments:
        encoded, image = self._cache.read(request)
        return encoded.with_image(image)
