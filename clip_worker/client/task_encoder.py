"""Converts requests to messages; nothing here does I/O."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from clip_worker.client.arguments import given, shown, task_id_of, uri_of
from clip_worker.client.push_plan import Message
from clip_worker.contract import MAX_MESSAGE_BYTES, RequestOptions, parse
from clip_worker.contract.keys import QueueKeys, upload_key
from clip_worker.contract.message_writer import (
    Arguments,
    EncodedRequest,
    MessageWriter,
    search_arguments,
)
from clip_worker.contract.request_cache import RequestCache
from clip_worker.contract.search import SearchRequest
from clip_worker.contract.signatures import SigningKey
from clip_worker.contract.tenants import TENANT_REMEDY, is_tenant
from clip_worker.contract.uri import validate_uri
from clip_worker.errors import InvalidRequestError

LEAST_URGENT = 9
MOST_ENCODED = (MAX_MESSAGE_BYTES - 65_536) // 4 * 3  # a body is in base64, and has headers


class Task(NamedTuple):
    """A task to send.

    Attributes:
        id: Its id.
        arguments: Its arguments.
        is_chosen: Whether the caller chose the id, so that it is sent once.
    """

    id: str
    arguments: Arguments
    is_chosen: bool = False


@dataclass(frozen=True)
class SendOptions:
    """Options for sending messages.

    Attributes:
        priority: 0 to 9, 0 the most urgent.
        expires_s: Seconds from sending after which the task expires; None for never.
        tenant: Tenant of the messages; None for none.
    """

    priority: int = 0
    expires_s: float | None = None
    tenant: str | None = None

    def __post_init__(self) -> None:
        if self.priority not in range(LEAST_URGENT + 1):
            raise InvalidRequestError(
                f"priority is {self.priority!r}; pass 0 (most urgent) to {LEAST_URGENT}."
            )
        if self.expires_s is not None and not 0 < self.expires_s < float("inf"):
            raise InvalidRequestError(
                f"expires_s is {self.expires_s!r}; pass a number of seconds above 0."
            )
        if self.tenant is not None and not is_tenant(self.tenant):
            raise InvalidRequestError(f"tenant is {shown(self.tenant)}; pass {TENANT_REMEDY}.")


class TaskEncoder:
    """Validates requests and writes their messages. Thread-safe.

    Args:
        queue: Name of the queue that they are sent to.
        key: Signs the messages; None to leave them unsigned.
    """

    def __init__(self, queue: str, key: SigningKey | None = None) -> None:
        self._keys = QueueKeys(queue)
        self._writer = MessageWriter(queue, key)
        self._cache = RequestCache(EncodedRequest)

    def one(self, request: Mapping[str, Any], task_id: str | None = None) -> Task:
        """The `clip.classify` task of one request.

        Args:
            request: `image` and the request's options.
            task_id: Its id, if the caller chose it.

        Raises:
            InvalidRequestError: The request is invalid.
        """
        encoded, image, webhook = self._cache.read(request)
        return _task(encoded.with_image(image, webhook), task_id)

    def many(
        self, requests: Iterable[str | Mapping[str, Any]], shared: Mapping[str, Any]
    ) -> Iterator[Task]:
        """The `clip.classify` tasks of many requests.

        Args:
            requests: URIs, or mappings with `image`, options that override `shared`, and `task_id`.
            shared: Options of all requests, validated and encoded once.

        Raises:
            InvalidRequestError: A request is invalid; the error says which.
        """
        encoded: list[EncodedRequest] = []  # `shared`, as soon as a request needs it
        for index, request in enumerate(requests):
            try:
                yield self._one_of_many(request, shared, encoded)
            except InvalidRequestError as error:
                raise InvalidRequestError(
                    f"Request {index}: {error.message}", error.code
                ) from error

    def chunk(self, request: EncodedRequest, images: list[str]) -> Task:
        """The `clip.classify_many` task of some images."""
        return _task(request.with_images(images))

    def search(self, request: Mapping[str, Any]) -> Task:
        """The `clip.search` task of a request.

        Raises:
            InvalidRequestError: The request is invalid.
        """
        return _task(search_arguments(parse(SearchRequest, request)))

    def messages(self, name: str, tasks: Iterable[Task], options: SendOptions) -> Iterator[Message]:
        """The messages of tasks.

        Args:
            name: `clip.classify`, `clip.classify_many` or `clip.search`.
            tasks: The tasks.
            options: Priority, expiry and tenant.
        """
        for task in tasks:
            text = self._writer.write(
                task.id,
                name,
                task.arguments,
                priority=options.priority,
                expires_s=options.expires_s,
                tenant=options.tenant,
            )
            yield Message(
                text,
                self._keys.sent(task.id) if task.is_chosen else "",
                _uses(task) if task.arguments.uploads else "",
            )

    def _one_of_many(
        self,
        request: str | Mapping[str, Any],
        shared: Mapping[str, Any],
        encoded: list[EncodedRequest],
    ) -> Task:
        if isinstance(request, Mapping):
            own = given(request)
            task_id = own.pop("task_id", None)
            if "image" in own:
                own["image"] = uri_of(own["image"])
            return self.one({**shared, **own}, task_id)
        if not encoded:
            encoded.append(EncodedRequest(parse(RequestOptions, shared)))
        return _task(encoded[0].with_image(validate_uri(uri_of(request))))


def _task(arguments: Arguments, task_id: str | None = None) -> Task:
    """A task with these arguments.

    Raises:
        InvalidRequestError: `MESSAGE_TOO_LARGE`, or the id is invalid.
    """
    if len(arguments.encoded) > MOST_ENCODED:
        raise InvalidRequestError(
            f"The request's arguments have {len(arguments.encoded)} bytes, and a task may have "
            f"{MOST_ENCODED}; upload the images (Client.upload), or send fewer in one task.",
            "MESSAGE_TOO_LARGE",
        )
    if task_id is None:
        return Task(str(uuid.uuid4()), arguments)
    return Task(task_id_of(task_id), arguments, is_chosen=True)


def _uses(task: Task) -> str:
    """A task's uploads, as `Message` has them."""
    uploads = task.arguments.uploads
    return json.dumps(
        [*chain.from_iterable((upload_key(each.digest), task.id, each.claim) for each in uploads)]
    )
