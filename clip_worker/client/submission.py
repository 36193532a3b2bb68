"""Converts requests to messages and sends them, one or many at a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from clip_worker.client.arguments import given, task_id_of, uri_of
from clip_worker.client.publisher import Message
from clip_worker.contract import CLASSIFY, RequestOptions, parse
from clip_worker.contract.message_writer import Arguments, EncodedRequest
from clip_worker.contract.uri import validate_uri
from clip_worker.errors import InvalidRequestError, TemporaryError

if TYPE_CHECKING:
    from clip_worker.client.publisher import Publisher
    from clip_worker.contract.keys import QueueKeys
    from clip_worker.contract.message_writer import MessageWriter
    from clip_worker.contract.request_cache import RequestCache

LEAST_URGENT = 9

_Task: TypeAlias = tuple[Arguments, str | None]  # its arguments, and its id if the caller chose it


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
        keys: Names in Redis.
    """

    def __init__(
        self,
        writer: MessageWriter,
        publisher: Publisher,
        cache: RequestCache[EncodedRequest],
        keys: QueueKeys,
    ) -> None:
        self._keys = keys
        self._writer = writer
        self._publisher = publisher
        self._cache = cache

    def send_one(
        self, request: Mapping[str, Any], options: SendOptions, task_id: str | None = None
    ) -> str:
        """Send one `clip.classify` task and return its id.

        Args:
            request: `image` and the request's options.
            options: Priority and expiry.
            task_id: Its id; a task with it that was sent before is not sent again.

        Raises:
            InvalidRequestError: The request is invalid; nothing was sent.
            QueueFullError: See `Publisher.send`.
            QueueUnavailableError: Likewise.
        """
        chosen = None if task_id is None else task_id_of(task_id)
        return self._send([(self._encode(request), chosen)], CLASSIFY, options)[0]

    def send(self, task: str, arguments: Arguments, options: SendOptions) -> str:
        """Send one task and return its id.

        Raises:
            QueueFullError: See `Publisher.send`.
            QueueUnavailableError: Likewise.
        """
        return self._send([(arguments, None)], task, options)[0]

    def send_many(
        self,
        requests: Iterable[str | Mapping[str, Any]],
        shared: Mapping[str, Any],
        options: SendOptions,
    ) -> list[str]:
        """Send one `clip.classify` task for each request and return their ids, in order.

        Args:
            requests: URIs, or mappings with `image`, options that override `shared`, and `task_id`.
            shared: Options of all requests, validated and encoded once.
            options: Priority and expiry.

        Raises:
            InvalidRequestError: A request is invalid; nothing was sent.
            QueueFullError: See `Publisher.send`; `sent` has the ids of the tasks sent before.
            QueueUnavailableError: Likewise.
        """
        return self._send(self._encode_all(requests, shared), CLASSIFY, options)

    def _send(self, tasks: Sequence[_Task], task: str, options: SendOptions) -> list[str]:
        ids = [chosen or str(uuid.uuid4()) for _, chosen in tasks]
        messages = (
            Message(
                self._writer.write(
                    task_id, task, arguments, priority=options.priority, expires_s=options.expires_s
                ),
                self._keys.sent(chosen) if chosen else "",
            )
            for task_id, (arguments, chosen) in zip(ids, tasks, strict=True)
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
        self, requests: Iterable[str | Mapping[str, Any]], shared: Mapping[str, Any]
    ) -> list[_Task]:
        """Encode all of them, so that an invalid one is reported before any is sent."""
        encoded: list[EncodedRequest] = []  # `shared`, as soon as a request needs it
        tasks = []
        for index, request in enumerate(requests):
            try:
                tasks.append(self._encode_one(request, shared, encoded))
            except InvalidRequestError as error:
                raise InvalidRequestError(
                    f"Request {index}: {error.message}", error.code
                ) from error
        return tasks

    def _encode_one(
        self,
        request: str | Mapping[str, Any],
        shared: Mapping[str, Any],
        encoded: list[EncodedRequest],
    ) -> _Task:
        if isinstance(request, Mapping):
            own = given(request)
            task_id = own.pop("task_id", None)
            if "image" in own:
                own["image"] = uri_of(own["image"])
            chosen = None if task_id is None else task_id_of(task_id)
            return self._encode({**shared, **own}), chosen
        if not encoded:
            encoded.append(EncodedRequest(parse(RequestOptions, shared)))
        return encoded[0].with_image(validate_uri(uri_of(request))), None

    def _encode(self, request: Mapping[str, Any]) -> Arguments:
        encoded, image, webhook = self._cache.read(request)
        return encoded.with_image(image, webhook)
