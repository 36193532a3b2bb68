"""Which images of a `classify_many` call are sent together, and what became of each; no I/O.

A message fails as a whole if one of its images crashes workers, or exceeds the task's time limit.
Then each of its images is sent again, once, in its own message, so that only the one at fault
fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from clip_worker.client.arguments import uri_of
from clip_worker.contract import Failure, Outcome
from clip_worker.contract.uri import validate_uri
from clip_worker.errors import ClipWorkerError, InvalidRequestError, ServiceError

FAILS_WHOLE_MESSAGE = ("POISON", "TASK_TIMEOUT")  # codes of failures that a single image causes

Image: TypeAlias = tuple[int, str]  # position and URI
Ended: TypeAlias = tuple[int, Outcome]


class ImageChunks:
    """The state of one `classify_many` call: images to send, in flight, and ended.

    Args:
        chunk: Images per message.
        in_flight: Maximum number of messages in flight.

    Attributes:
        chunk: As above.
        exhausted: Whether all images have been read.
    """

    def __init__(self, chunk: int, in_flight: int) -> None:
        self.chunk = chunk
        self.exhausted = False
        self._in_flight = in_flight
        self._read = 0
        self._again: deque[Image] = deque()
        self._sent: dict[str, list[Image]] = {}
        self._ended: deque[Ended] = deque()

    @property
    def room(self) -> int:
        """How many more messages may be sent now."""
        return self._in_flight - len(self._sent)

    @property
    def is_done(self) -> bool:
        """Whether all images were sent, and all outcomes taken."""
        return self.exhausted and not (self._again or self._sent or self._ended)

    def again(self) -> list[Image]:
        """An image to send again, alone; empty if there is none."""
        return [self._again.popleft()] if self._again else []

    def read(self, images: Sequence[object]) -> list[Image]:
        """The images of the next message, without malformed URIs, which fail at once.

        Args:
            images: The next `chunk` images; fewer if there are no more.
        """
        self.exhausted = len(images) < self.chunk
        valid = []
        for position, image in enumerate(images, self._read):
            try:
                valid.append((position, validate_uri(uri_of(image))))
            except InvalidRequestError as error:
                self._fail([position], error)
        self._read += len(images)
        return valid

    def sent(self, task_id: str, images: list[Image]) -> None:
        """Note that images were sent."""
        self._sent[task_id] = images

    def end(self, task_id: str, outcomes: Sequence[Outcome]) -> None:
        """Note the outcomes of a message."""
        positions = [position for position, _ in self._sent.pop(task_id)]
        if len(outcomes) == len(positions):
            self._ended.extend(zip(positions, outcomes, strict=True))
            return
        reason = (
            f"Task {task_id} returned {len(outcomes)} outcomes for {len(positions)} images; "
            "report this as a bug of the worker."
        )
        self._fail(positions, ServiceError(reason, "BAD_RESULT"))

    def fail(self, task_id: str, error: ClipWorkerError) -> None:
        """Note that a message failed as a whole."""
        images = self._sent.pop(task_id)
        if len(images) > 1 and error.code in FAILS_WHOLE_MESSAGE:
            self._again.extend(images)
        else:
            self._fail([position for position, _ in images], error)

    def take_ended(self) -> Iterator[Ended]:
        """The outcomes that were noted since the last call, with their images' positions."""
        while self._ended:
            yield self._ended.popleft()

    def _fail(self, positions: Sequence[int], error: ClipWorkerError) -> None:
        failed = Outcome(status="error", error=Failure.of(error))
        self._ended.extend((position, failed) for position in positions)


def decode_outcomes(results: list[dict[str, Any]]) -> list[Outcome]:
    """The result of a `clip.classify_many` task."""
    return [Outcome.model_validate(result) for result in results]
