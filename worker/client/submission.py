"""Turns requests into messages and sends them, one by one or many at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from worker.client.arguments import given, uri_of
from worker.contract import CLASSIFY, RequestOptions, parse
from worker.contract.message_writer import Arguments, EncodedRequest
from worker.contract.uri import validate_uri
from worker.errors import InvalidRequestError, TemporaryError

if TYPE_CHECKING:
    from worker.client.publisher import Publisher
    from worker.contract.message_writer import MessageWriter
    from worker.contract.request_cache import RequestCache

Request: TypeAlias = str | Mapping[str, Any]  # a URI, or it and what is asked of this picture alone
LEAST_URGENT = 9


@dataclass(frozen=True)
class Post:
    """Options for sending messages.

    Attributes:
        priority: 0 to 9, 0 the most urgent.
        expires_s: Seconds from sending after which nobody wants the answer, if ever.
    """

    priority: int = 0
    expires_s: float | None = None

    def __post_init__(self) -> None:
        if self.priority not in range(LEAST_URGENT + 1):
            raise InvalidRequestError(
                f"priority is {self.priority!r}; give 0, the most urgent, to {LEAST_URGENT}."
            )
        if self.expires_s is not None and not 0 < self.expires_s < float("inf"):
            raise InvalidRequestError(
                f"expires_s is {self.expires_s!r}; give a number of seconds above 0."
            )


class Submission:
    """Writes messages and sends them. Threads may share it.

    Args:
        writer: Of messages.
        publisher: Sends them.
        questions: Those that were written before.
    """

    def __init__(
        self, writer: MessageWriter, publisher: Publisher, questions: RequestCache[EncodedRequest]
    ) -> None:
        self._writer = writer
        self._publisher = publisher
        self._questions = questions

    def send_one(self, request: Mapping[str, Any], post: Post) -> str:
        """Send one `clip.classify`; the task's id.

        Args:
            request: `image` and what is asked of it.
            post: How it is to travel.

        Raises:
            InvalidRequestError: The request is wrong; nothing was sent.
            QueueFullError: See `Publisher.send`.
            QueueUnavailableError: Likewise.
        """
        return self.send(CLASSIFY, self._about(request), post)

    def send(self, task: str, arguments: Arguments, post: Post) -> str:
        """Send one task; its id.

        Raises:
            QueueFullError: See `Publisher.send`.
            QueueUnavailableError: Likewise.
        """
        [task_id] = self._send([arguments], task, post)
        return task_id

    def send_many(
        self, requests: Iterable[Request], shared: Mapping[str, Any], post: Post
    ) -> list[str]:
        """Send one `clip.classify` for each request; the tasks' ids, in order.

        Args:
            requests: Each a URI, or a mapping with `image` and what goes before `shared`.
            shared: What is asked of all pictures, validated and written once.
            post: How they are to travel.

        Raises:
            InvalidRequestError: One is wrong; nothing was sent.
            QueueFullError: See `Publisher.send`; `sent` names the tasks that were sent before.
            QueueUnavailableError: Likewise.
        """
        return self._send(self._arguments(requests, shared), CLASSIFY, post)

    def _send(self, arguments: Sequence[Arguments], task: str, post: Post) -> list[str]:
        ids = [str(uuid.uuid4()) for _ in arguments]
        messages = (
            self._writer.write(
                task_id, task, given, priority=post.priority, expires_s=post.expires_s
            )
            for task_id, given in zip(ids, arguments, strict=True)
        )
        sent = 0
        try:
            for count in self._publisher.send(messages, len(ids), post.priority):
                sent += count
        except TemporaryError as error:
            error.sent = tuple(ids[:sent])
            raise
        return ids

    def _arguments(self, requests: Iterable[Request], shared: Mapping[str, Any]) -> list[Arguments]:
        """All of them, so that a wrong one is told before any is sent."""
        written: list[EncodedRequest] = []  # the shared question, once it is needed
        arguments = []
        for index, request in enumerate(requests):
            try:
                arguments.append(self._read(request, shared, written))
            except InvalidRequestError as error:
                raise InvalidRequestError(
                    f"Request {index}: {error.message}", error.code
                ) from error
        return arguments

    def _read(
        self, request: Request, shared: Mapping[str, Any], written: list[EncodedRequest]
    ) -> Arguments:
        if isinstance(request, Mapping):
            own = given(request)
            if "image" in own:
                own["image"] = uri_of(own["image"])
            return self._about({**shared, **own})
        if not written:
            written.append(EncodedRequest(parse(RequestOptions, shared)))
        return written[0].about(validate_uri(uri_of(request)))

    def _about(self, request: Mapping[str, Any]) -> Arguments:
        question, image = self._questions.read(request)
        return question.about(image)
