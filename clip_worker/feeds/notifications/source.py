"""What receives notifications: a queue, a list in Redis, or a web server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """A notification.

    Attributes:
        receipt: Names this delivery of it.
        body: As it was sent.
    """

    receipt: str
    body: str


class MessageSource(Protocol):
    """Receives messages, and keeps each until it is deleted, also when this process is killed.

    `receive`, `keep` and `reject` are called on one thread, the others on another one.
    """

    def open(self) -> None:
        """Begin.

        Raises:
            ClipWorkerError: It can't be reached, or does not exist.
        """

    def receive(self) -> Sequence[Message]:
        """Wait for messages, a second or so.

        Raises:
            TemporaryError: It can't be reached for now.
        """

    def keep(self, receipts: Sequence[str]) -> None:
        """Keep these from being delivered again for a minute; it is called often enough.

        Raises:
            TemporaryError: It can't be reached for now.
        """

    def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages.

        Raises:
            TemporaryError: It can't be reached for now.
        """

    def reject(self, message: Message) -> None:
        """Put a message aside that can't be read.

        Raises:
            TemporaryError: It can't be reached for now.
        """

    def close(self, receipts: Sequence[str]) -> None:
        """End, also if `open` has failed.

        Args:
            receipts: Of messages that were not deleted, and may be delivered again at once.
        """
