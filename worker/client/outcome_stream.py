"""Sends many images, several a message, as earlier messages end; each image gets one outcome.

A message fails as a whole if one of its images kills workers, or uses up the time limit of a task.
Then each of its images is sent again, once, in a message of its own, so that only the one to blame
fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from worker.client.arguments import uri_of
from worker.client.handle import Handle, as_completed
from worker.contract import Failure, Outcome
from worker.contract.uri import validate_uri
from worker.errors import ClipWorkerError, InvalidRequestError, ServiceError

BLAMES_NEIGHBOURS = ("POISON", "TASK_TIMEOUT")  # codes of failures that one picture brings to all

Picture: TypeAlias = tuple[int, str]  # its position, and its URI
Ended: TypeAlias = tuple[int, Outcome]


class OutcomeStream:
    """The state of one `classify_many`: what is to be sent, is in flight, or has ended.

    Args:
        images: URIs.
        send: Sends a message about some of them.
        chunk: Pictures a message.
        in_flight: Messages under way at a time.
        timeout: Longest wait for the next to end, in seconds; None as for `Handle.get`.
    """

    def __init__(
        self,
        images: Iterable[object],
        send: Callable[[list[str]], Handle[list[Outcome]]],
        *,
        chunk: int,
        in_flight: int,
        timeout: float | None,
    ) -> None:
        self._images = enumerate(images)
        self._send = send
        self._chunk = chunk
        self._in_flight = in_flight
        self._timeout = timeout
        self._is_drawn = False  # whether all images have been
        self._again: deque[Picture] = deque()
        self._under_way: dict[Handle[list[Outcome]], list[Picture]] = {}
        self._ended: deque[Ended] = deque()

    def outcomes(self) -> Iterator[Ended]:
        """Send, wait, and yield each image's position and outcome as they come.

        Raises:
            TemporaryError: Redis can't be used, the queue is full, or nothing ended within
                `timeout`; what had ended before was given.
        """
        while True:
            try:
                self._fill()
            except Exception:
                yield from self._take_ended()
                raise
            yield from self._take_ended()
            if self._under_way:
                self._wait()
            elif self._is_drawn and not self._again:
                return

    def _fill(self) -> None:
        for _ in range(self._in_flight - len(self._under_way)):
            pictures = [self._again.popleft()] if self._again else self._draw()
            if pictures:
                self._under_way[self._send([uri for _, uri in pictures])] = pictures

    def _draw(self) -> list[Picture]:
        """The next chunk. What is not a URI is left out, and fails at once."""
        if self._is_drawn:
            return []
        drawn = list(islice(self._images, self._chunk))
        self._is_drawn = len(drawn) < self._chunk
        pictures = []
        for position, image in drawn:
            try:
                pictures.append((position, validate_uri(uri_of(image))))
            except InvalidRequestError as error:
                self._fail([position], error)
        return pictures

    def _wait(self) -> None:
        handle = next(as_completed(list(self._under_way), timeout=self._timeout))
        pictures = self._under_way.pop(handle)
        positions = [position for position, _ in pictures]
        try:
            outcomes = handle.get(self._timeout)
        except ClipWorkerError as error:
            if len(pictures) > 1 and error.code in BLAMES_NEIGHBOURS:
                self._again.extend(pictures)
            else:
                self._fail(positions, error)
        else:
            self._end(handle, positions, outcomes)

    def _end(
        self, handle: Handle[list[Outcome]], positions: Sequence[int], outcomes: Sequence[Outcome]
    ) -> None:
        if len(outcomes) == len(positions):
            self._ended.extend(zip(positions, outcomes, strict=True))
            return
        reason = f"Task {handle.id} answers {len(outcomes)} pictures, not {len(positions)}."
        self._fail(positions, ServiceError(reason, "BAD_RESULT"))

    def _fail(self, positions: Sequence[int], error: ClipWorkerError) -> None:
        failed = Outcome(status="error", error=Failure.of(error))
        self._ended.extend((position, failed) for position in positions)

    def _take_ended(self) -> Iterator[Ended]:
        while self._ended:
            yield self._ended.popleft()
