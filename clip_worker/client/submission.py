"""Sends requests, one or many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clip_worker.contract import CLASSIFY, CLASSIFY_MANY
from clip_worker.contract.search import SEARCH
from clip_worker.errors import TemporaryError

if TYPE_CHECKING:
    from clip_worker.client.publisher import Publisher
    from clip_worker.client.task_encoder import SendOptions, Task, TaskEncoder
    from clip_worker.contract.message_writer import EncodedRequest


class Submission:
    """Writes messages and sends them. Thread-safe.

    Args:
        encoder: Writes the messages.
        publisher: Sends them.
    """

    def __init__(self, encoder: TaskEncoder, publisher: Publisher) -> None:
        self._encoder = encoder
        self._publisher = publisher

    def send_one(
        self, request: Mapping[str, Any], options: SendOptions, task_id: str | None = None
    ) -> str:
        """Send one `clip.classify` task and return its id.

        Args:
            request: `image` and the request's options.
            options: Priority, expiry and tenant.
            task_id: Its id; a task with it that was sent before is not sent again.

        Raises:
            InvalidRequestError: The request is invalid; nothing was sent.
            QueueFullError: See `PushPlan.pushes`.
            QueueUnavailableError: Redis can't be reached, or rejects the message.
        """
        return self._send(CLASSIFY, [self._encoder.one(request, task_id)], options)[0]

    def send_chunk(self, request: EncodedRequest, images: list[str], options: SendOptions) -> str:
        """Send one `clip.classify_many` task and return its id.

        Raises:
            QueueFullError: As for `send_one`.
            QueueUnavailableError: See `Publisher.send`.
        """
        return self._send(CLASSIFY_MANY, [self._encoder.chunk(request, images)], options)[0]

    def send_search(self, request: Mapping[str, Any], options: SendOptions) -> str:
        """Send one `clip.search` task and return its id.

        Raises:
            InvalidRequestError: The request is invalid; nothing was sent.
            QueueFullError: As for `send_one`.
            QueueUnavailableError: See `Publisher.send`.
        """
        return self._send(SEARCH, [self._encoder.search(request)], options)[0]

    def send_many(
        self,
        requests: Iterable[str | Mapping[str, Any]],
        shared: Mapping[str, Any],
        options: SendOptions,
    ) -> list[str]:
        """Send one `clip.classify` task for each request and return their ids, in order.

        Args:
            requests: See `TaskEncoder.many`.
            shared: Options of all requests.
            options: Priority, expiry and tenant.

        Raises:
            InvalidRequestError: A request is invalid; nothing was sent.
            QueueFullError: As for `send_one`; `sent` has the ids of the tasks sent before.
            QueueUnavailableError: See `Publisher.send`.
        """
        # All are encoded first, so that an invalid one is reported before any is sent.
        return self._send(CLASSIFY, list(self._encoder.many(requests, shared)), options)

    def _send(self, name: str, tasks: Sequence[Task], options: SendOptions) -> list[str]:
        ids = [task.id for task in tasks]
        messages = self._encoder.messages(name, tasks, options)
        sent = 0
        try:
            send = self._publisher.send
            for count in send(messages, len(ids), options.priority, options.tenant):
                sent += count
        except TemporaryError as error:
            error.sent = tuple(ids[:sent])
            raise
        return ids
