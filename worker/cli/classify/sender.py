"""Sends images and yields their outcomes, with few of them in flight at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from clip_worker import Client
from clip_worker.client.image_file import REDIS_MAX_BYTES, read_image
from clip_worker.contract import Failure, Outcome
from clip_worker.errors import ImageUnavailableError, InvalidRequestError
from clip_worker.quoting import quote, shown_uri
from worker.cli.classify.image_arguments import ImageArgument

UPLOAD_TTL_S = 3600.0  # long enough for a queue, short enough not to fill Redis
CHUNK = 8  # images per message: few, so that the first results come soon
IN_FLIGHT = 32  # messages


def send(
    client: Client,
    images: Iterable[ImageArgument],
    *,
    timeout_s: float,
    **options: Any,
) -> Iterator[tuple[int, Outcome]]:
    """Send images and yield each outcome as it arrives, with its image's position.

    Files are read and uploaded only when their turn comes, so there may be any number of them. The
    outcome of a file that can't be read is a failure.

    Args:
        client: Sends the images.
        images: The images, in order.
        timeout_s: Longest wait for the next outcome, in seconds.
        options: As for `Client.classify_many`.

    Raises:
        ResultTimeoutError: No outcome arrived for `timeout_s`.
        QueueUnavailableError: Redis can't be reached.
    """
    sender = _Sender(client, images)
    outcomes = client.classify_many(
        sender.uris(), chunk=CHUNK, in_flight=IN_FLIGHT, timeout=timeout_s, **options
    )
    for index, outcome in outcomes:
        yield from sender.take_unread()
        yield sender.take(index, outcome)
    yield from sender.take_unread()


def in_order(outcomes: Iterable[tuple[int, Outcome]]) -> Iterator[tuple[int, Outcome]]:
    """Yield outcomes in the order of their positions, each as soon as possible."""
    waiting: dict[int, Outcome] = {}
    following = 0
    for position, outcome in outcomes:
        waiting[position] = outcome
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


class _Sender:
    """Converts images to URIs that the worker can fetch, and remembers which is which."""

    def __init__(self, client: Client, images: Iterable[ImageArgument]) -> None:
        self._client = client
        self._images = images
        self._sent: dict[int, tuple[int, ImageArgument, str]] = {}  # by index among those sent
        self._unread: deque[tuple[int, Outcome]] = deque()

    def uris(self) -> Iterator[str]:
        sent = 0
        for position, image in enumerate(self._images):
            try:
                uri = self._uri(image)
            except (ImageUnavailableError, InvalidRequestError) as error:
                failed = Outcome(status="error", error=Failure.of(error))
                self._unread.append((position, failed))
                continue
            self._sent[sent] = (position, image, uri)
            sent += 1
            yield uri

    def take(self, index: int, outcome: Outcome) -> tuple[int, Outcome]:
        """The outcome with its image's position; in errors an upload has its file's name."""
        position, image, uri = self._sent.pop(index)
        if outcome.error is None:
            return position, outcome
        message = outcome.error.message.removeprefix(f"{shown_uri(uri)}: ")
        message = message.replace(shown_uri(uri), quote(image.name))
        error = outcome.error.model_copy(update={"message": message})
        return position, outcome.model_copy(update={"error": error})

    def take_unread(self) -> Iterator[tuple[int, Outcome]]:
        while self._unread:
            yield self._unread.popleft()

    def _uri(self, image: ImageArgument) -> str:
        if image.path is None:
            return image.name
        # The worker decides what is too large for it.
        data = read_image(image.path, image.name, REDIS_MAX_BYTES)
        return self._client.upload(data, ttl_s=UPLOAD_TTL_S, name=image.name)
