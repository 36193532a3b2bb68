"""Sends images and yields their outcomes, with few of them in flight at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from worker.cli.classify.image_arguments import Picture
from worker.client import Client
from worker.client.image_file import read_image
from worker.contract import Failure, Outcome
from worker.errors import ImageUnavailableError, InvalidRequestError
from worker.quoting import quote, shown_uri

UPLOAD_TTL_S = 3600.0  # long enough for a queue, short enough not to fill Redis
CHUNK = 8  # pictures a message: small, so that the first answers come soon
IN_FLIGHT = 32  # messages


def ask(
    client: Client,
    pictures: Iterable[Picture],
    *,
    timeout_s: float,
    **question: Any,
) -> Iterator[tuple[int, Outcome]]:
    """Ask about pictures; each outcome is given as it comes, with its picture's position.

    Files are read and uploaded only when their turn comes, so that any number of them fits. One
    that can't be read has a failure for its outcome.

    Args:
        client: Sends and waits.
        pictures: In order.
        timeout_s: Longest wait for the next outcome, in seconds.
        question: As for `Client.classify_many`.

    Raises:
        ResultTimeoutError: No outcome came for `timeout_s`.
        QueueUnavailableError: Redis can't be reached.
    """
    sender = _Sender(client, pictures)
    outcomes = client.classify_many(
        sender.uris(), chunk=CHUNK, in_flight=IN_FLIGHT, timeout=timeout_s, **question
    )
    for index, outcome in outcomes:
        yield from sender.take_unread()
        yield sender.take(index, outcome)
    yield from sender.take_unread()


def in_order(outcomes: Iterable[tuple[int, Outcome]]) -> Iterator[tuple[int, Outcome]]:
    """Give positioned outcomes in the order of their positions, each as soon as that allows."""
    waiting: dict[int, Outcome] = {}
    following = 0
    for position, outcome in outcomes:
        waiting[position] = outcome
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


class _Sender:
    """Turns pictures into URIs that the worker can fetch, and remembers which is which."""

    def __init__(self, client: Client, pictures: Iterable[Picture]) -> None:
        self._client = client
        self._pictures = pictures
        self._sent: dict[int, tuple[int, Picture, str]] = {}  # from index among those sent
        self._unread: deque[tuple[int, Outcome]] = deque()

    def uris(self) -> Iterator[str]:
        sent = 0
        for position, picture in enumerate(self._pictures):
            try:
                uri = self._uri(picture)
            except (ImageUnavailableError, InvalidRequestError) as error:
                failed = Outcome(status="error", error=Failure.of(error))
                self._unread.append((position, failed))
                continue
            self._sent[sent] = (position, picture, uri)
            sent += 1
            yield uri

    def take(self, index: int, outcome: Outcome) -> tuple[int, Outcome]:
        """The outcome with its picture's position; a failure calls an upload by its file's name."""
        position, picture, uri = self._sent.pop(index)
        if outcome.error is None:
            return position, outcome
        message = outcome.error.message.removeprefix(f"{shown_uri(uri)}: ")
        message = message.replace(shown_uri(uri), quote(picture.name))
        error = outcome.error.model_copy(update={"message": message})
        return position, outcome.model_copy(update={"error": error})

    def take_unread(self) -> Iterator[tuple[int, Outcome]]:
        while self._unread:
            yield self._unread.popleft()

    def _uri(self, picture: Picture) -> str:
        if picture.path is None:
            return picture.name
        return self._client.upload(read_image(picture.path, picture.name), UPLOAD_TTL_S)
