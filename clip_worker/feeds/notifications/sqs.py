"""Notifications in a queue of Amazon SQS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from clip_worker.errors import ClipWorkerError
from clip_worker.feeds.aws import aws_client, translated
from clip_worker.feeds.notifications.source import Message
from clip_worker.quoting import quote

WAIT_S = 2  # for messages; while there are none, 43,200 requests a day
VISIBILITY_S = 60  # a message that is neither deleted nor kept is delivered again
AT_A_TIME = 10  # the service's limit


class SqsSource:
    """Receives messages, and deletes them. Messages that can't be read are left to the queue.

    Args:
        queue: Its name.
        account: Its owner's account id; None for that of the credentials.
        region: Its region; None for that of the environment.
    """

    def __init__(self, queue: str, account: str | None = None, region: str | None = None) -> None:
        self._queue = queue
        self._account = account
        self._region = region
        self._what = f"The queue {quote(queue)}"
        self._url = ""
        self._client: Any = None

    def open(self) -> None:
        """Find the queue; see `MessageSource`."""
        self._client = aws_client("sqs", self._region)
        owner = {"QueueOwnerAWSAccountId": self._account} if self._account else {}
        with translated(self._what):
            self._url = self._client.get_queue_url(QueueName=self._queue, **owner)["QueueUrl"]

    def receive(self) -> Sequence[Message]:
        """Wait for messages; see `MessageSource`."""
        with translated(self._what):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=AT_A_TIME,
                WaitTimeSeconds=WAIT_S,
                VisibilityTimeout=VISIBILITY_S,
            )
        found = answer.get("Messages", ())
        return [Message(message["ReceiptHandle"], message["Body"]) for message in found]

    def keep(self, receipts: Sequence[str]) -> None:
        """Prolong the messages' visibility time-out; see `MessageSource`."""
        self._change(receipts, VISIBILITY_S)

    def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages; see `MessageSource`."""
        for some in _tens(receipts):
            entries = [{"Id": str(i), "ReceiptHandle": each} for i, each in enumerate(some)]
            with translated(self._what):
                # One that fails is delivered again, and then deleted.
                self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)

    def reject(self, message: Message) -> None:
        """Leave the message: the queue's redrive policy moves it to a dead-letter queue."""

    def close(self, receipts: Sequence[str]) -> None:
        """Let others have the messages at once."""
        if self._client is None:
            return
        with contextlib.suppress(ClipWorkerError):  # then they come after the time-out
            self._change(receipts, 0)
        self._client.close()

    def _change(self, receipts: Sequence[str], visibility_s: int) -> None:
        for some in _tens(receipts):
            entries = [
                {"Id": str(i), "ReceiptHandle": each, "VisibilityTimeout": visibility_s}
                for i, each in enumerate(some)
            ]
            with translated(self._what):
                self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)


def _tens(receipts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (receipts[i : i + AT_A_TIME] for i in range(0, len(receipts), AT_A_TIME))
