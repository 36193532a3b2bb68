"""The images of one message: how many are in flight, and what becomes of the message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_worker.contract import Outcome
from clip_worker.errors import (
    ClipWorkerError,
    ImageInvalidError,
    InvalidRequestError,
    TemporaryError,
)
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.message_outcomes import MessageOutcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUEST = TaggingRequest(labels=("a", "b"), templates=("{}",), k=1)


def result(image: str) -> dict[str, Any]:
    timing = dict.fromkeys(
        ("queue", "labels", "fetch", "decode", "batch_wait", "forward", "score", "batch_size"), 0
    )
    return {"predictions": [], "model": image, "model_digest": "", "timing": timing}


class Line:
    """Stands for the pipeline: tasks that the test ends, or that end at once."""

    def __init__(self, ends_with: ClipWorkerError | None = None) -> None:
        self.sent: dict[str, ImageTask] = {}
        self._ends_with = ends_with

    def submit(self, tasks: Sequence[ImageTask]) -> None:
        for task in tasks:
            self.sent[task.image] = task
            if self._ends_with:
                self.fail(task.image, self._ends_with)

    def answer(self, *images: str) -> None:
        for image in images:
            self.sent[image].result = result(image)
            self.sent[image].owner.finished([self.sent[image]])

    def fail(self, image: str, error: ClipWorkerError) -> None:
        self.sent[image].error = error
        self.sent[image].owner.finished([self.sent[image]])


class Message:
    """A message about some images, and all that becomes of it."""

    def __init__(
        self, line: Line, images: Sequence[str | ClipWorkerError], window: int = 2
    ) -> None:
        self.advances = 0
        self.ends: list[list[str]] = []
        self.stops = 0
        self.outcomes = MessageOutcomes(
            line,  # type: ignore[arg-type]  # it has what is used
            window=lambda: window,
            advanced=self._advance,
            ended=lambda outcomes: self.ends.append([reported(each) for each in outcomes]),
            stopped=self._stop,
        )
        self.outcomes.start(
            [
                image
                if isinstance(image, ClipWorkerError)
                else ImageTask(image, REQUEST, self.outcomes, None, i)
                for i, image in enumerate(images)
            ]
        )

    def _advance(self) -> None:
        self.advances += 1

    def _stop(self) -> None:
        self.stops += 1


def reported(outcome: dict[str, Any]) -> str:
    """An outcome's image, or its error's code."""
    read = Outcome.model_validate(outcome)
    if read.result is not None:
        return read.result.model
    assert read.error is not None
    return read.error.code


def test_a_window_is_in_flight_and_each_that_ends_sends_the_next() -> None:
    line = Line()
    message = Message(line, "abcd")
    assert list(line.sent) == ["a", "b"]

    line.answer("b")
    assert list(line.sent) == ["a", "b", "c"]
    line.answer("c", "d")
    assert message.ends == []
    line.answer("a")

    assert message.ends == [["a", "b", "c", "d"]]
    assert message.advances == 3


def test_an_image_that_fails_and_one_that_cannot_be_asked_about_are_outcomes_too() -> None:
    line = Line()
    message = Message(line, ["a", InvalidRequestError("No URI.", "BAD_URI"), "b"])

    line.fail("a", ImageInvalidError("Broken.", "DECODE_BROKEN"))
    line.answer("b")

    assert message.ends == [["DECODE_BROKEN", "BAD_URI", "b"]]


def test_however_many_end_at_once_the_stack_does_not_grow() -> None:
    message = Message(Line(ends_with=ImageInvalidError("Broken.", "DECODE_BROKEN")), "x" * 5000)
    assert message.ends == [["DECODE_BROKEN"] * 5000]


def test_when_the_time_is_over_what_is_done_is_given_and_what_comes_late_is_dropped() -> None:
    line = Line()
    message = Message(line, "abcd")
    line.answer("b")
    late = "TASK_TIMEOUT"

    assert message.outcomes.time_out(TemporaryError("Too long.", late)) == 3

    assert message.ends == [[late, "b", late, late]]
    line.answer("a", "c")
    assert list(line.sent) == ["a", "b", "c"]
    assert message.outcomes.time_out(TemporaryError("Too long.", late)) == 0
    assert len(message.ends) == 1


def test_a_pipeline_that_stops_ends_no_message() -> None:
    message = Message(Line(ends_with=TemporaryError("Stopping.", "STOPPING")), "abcd")
    assert (message.stops, message.ends, message.advances) == (2, [], 0)
