"""Sends many images, several per message, and yields one outcome for each image.

A message fails as a whole if one of its images crashes workers, or exceeds the task's time limit.
Then each of its images is sent again, once, in its own message, so that only the one at fault
fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

from clip_worker.client.arguments import uri_of
from clip_worker.client.handle import Handle, as_completed
from clip_worker.contract import Failure, Outcome
from clip_worker.contract.uri import validate_uri
from clip_worker.errors import ClipWorkerError, InvalidRequestError, ServiceError

FAILS_WHOLE_MESSAGE = ("POISON", "TASK_TIMEOUT")  # codes of failures that a single image causes

Image: TypeAlias = tuple[int, str]  # position and URI
Ended: TypeAlias = tuple[int, Outcome]


class OutcomeStream:
    """The state of one `classify_many` call: images to send, in flight, and ended.

    Args:
        images: URIs.
        send: Sends a message with some of them.
        chunk: Images per message.
        in_flight: Maximum number of messages in flight.
        timeout: Longest wait for the next message to end, in seconds; None as for `Handle.get`.
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
        self._exhausted = False  # whether all images have been read
        self._again: deque[Image] = deque()
        self._sent: dict[Handle[list[Outcome]], list[Image]] = {}
        self._ended: deque[Ended] = deque()

    def outcomes(self) -> Iterator[Ended]:
        """Send, wait, and yield each image's position and outcome as messages end.

        Raises:
            TemporaryError: Redis can't be used, the queue is full, or nothing ended within
                `timeout`. Outcomes that had arrived before are yielded first.
        """
        while True:
            try:
                self._fill()
            except Exception:
                yield from self._take_ended()
                raise
            yield from self._take_ended()
            if self._sent:
                self._wait()
            elif self._exhausted and not self._again:
                return

    def _fill(self) -> None:
        for _ in range(self._in_flight - len(self._sent)):
            images = [self._again.popleft()] if self._again else self._next_chunk()
            if images:
                self._sent[self._send([uri for _, uri in images])] = images

    def _next_chunk(self) -> list[Image]:
        """The next chunk, without malformed URIs, which fail at once."""
        if self._exhausted:
            return []
        read = list(islice(self._images, self._chunk))
        self._exhausted = len(read) < self._chunk
        images = []
        for position, image in read:
            try:
                images.append((position, validate_uri(uri_of(image))))
            except InvalidRequestError as error:
                self._fail([position], error)
        return images

    def _wait(self) -> None:
        handle = next(as_completed(list(self._sent), timeout=self._timeout))
        images = self._sent.pop(handle)
        positions = [position for position, _ in images]
        try:
            outcomes = handle.get(self._timeout)
        except ClipWorkerError as error:
            if len(images) > 1 and error.code in FAILS_WHOLE_MESSAGE:
                self._again.extend(images)
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
        reason = (
            f"Task {handle.id} returned {len(outcomes)} outcomes for {len(positions)} images; "
            "report this as a bug of the worker."
        )
        self._fail(positions, ServiceError(reason, "BAD_RESULT"))

    def _fail(self, positions: Sequence[int], error: ClipWorkerError) -> None:
        failed = Outcome(status="error", error=Failure.of(error))
        self._ended.extend((position, failed) for position in positions)

    def _take_ended(self) -> Iterator[Ended]:
        while self._ended:
            yield self._ended.popleft()


def decode_outcomes(results: list[dict[str, Any]]) -> list[Outcome]:
    """The result of a `clip.classify_many` task."""
    return [Outcome.model_validate(result) for result in results]
