"""Sends many images, several per message, and yields one outcome for each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from clip_worker.client.handle import Handle, as_completed
from clip_worker.client.image_chunks import Ended, Image, ImageChunks
from clip_worker.contract import Outcome
from clip_worker.errors import ClipWorkerError, QueueUnavailableError


class OutcomeStream:
    """Sends the images of one `classify_many` call and waits for their outcomes.

    Args:
        images: URIs.
        send: Sends a message with some of them.
        chunk: Images per message.
        in_flight: Maximum number of messages in flight.
        timeout: Longest wait for the next message to end, in seconds; None as for `Handle.get`.
        keep_results: Whether results that were read stay in Redis.
    """

    def __init__(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        images: Iterable[object],
        send: Callable[[list[str]], Handle[list[Outcome]]],
        *,
        chunk: int,
        in_flight: int,
        timeout: float | None,
        keep_results: bool = False,
    ) -> None:
        self._images = iter(images)
        self._send = send
        self._timeout = timeout
        self._keep_results = keep_results
        self._chunks = ImageChunks(chunk, in_flight)
        self._sent: dict[str, Handle[list[Outcome]]] = {}

    def outcomes(self) -> Iterator[Ended]:
        """Send, wait, and yield each image's position and outcome as messages end.

        Raises:
            TemporaryError: Redis can't be used, the queue is full, or nothing ended within
                `timeout`. Outcomes that had arrived before are yielded first.
        """
        while not self._chunks.is_done:
            try:
                self._fill()
            except Exception:
                yield from self._chunks.take_ended()
                raise
            yield from self._chunks.take_ended()
            if self._sent:
                self._wait()

    def _fill(self) -> None:
        for _ in range(self._chunks.room):
            if images := self._chunks.again() or self._next_chunk():
                handle = self._send([uri for _, uri in images])
                self._chunks.sent(handle.id, images)
                self._sent[handle.id] = handle

    def _next_chunk(self) -> list[Image]:
        if self._chunks.exhausted:
            return []
        return self._chunks.read(list(islice(self._images, self._chunks.chunk)))

    def _wait(self) -> None:
        handle = next(as_completed(list(self._sent.values()), timeout=self._timeout))
        del self._sent[handle.id]
        try:
            outcomes = handle.get(self._timeout)
        except ClipWorkerError as error:
            self._chunks.fail(handle.id, error)
        else:
            self._chunks.end(handle.id, outcomes)
        if not self._keep_results:
            with suppress(QueueUnavailableError):  # then it expires
                handle.forget()
