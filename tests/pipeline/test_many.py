"""The pictures of one message: how many are on their way, and what becomes of the message."""

from __future__ import annotations

from concurrent.futures import Future

from worker.contract import Classification, Outcome, Timing
from worker.errors import ClipWorkerError, ImageInvalidError, InvalidRequestError, TemporaryError
from worker.pipeline.job import Job
from worker.pipeline.many import Many


def _answer(image: str) -> Classification:
    timing = Timing(
        queue=None, labels=0, fetch=0, decode=0, batch_wait=0, forward=0, score=0, batch_size=1
    )
    return Classification(predictions=(), model=image, model_digest="", timing=timing)


class Line:
    """Stands for the pipeline: futures that the test ends, or that end at once."""

    def __init__(self, ends_with: ClipWorkerError | None = None) -> None:
        self.sent: dict[str, Future[Classification]] = {}
        self._ends_with = ends_with

    def submit(self, job: Job) -> Future[Classification]:
        self.sent[job.image] = future = Future()
        if self._ends_with:
            future.set_exception(self._ends_with)
        return future

    def answer(self, *images: str) -> None:
        for image in images:
            self.sent[image].set_result(_answer(image))


class Message:
    """A message about some pictures, and all that is told of it."""

    def __init__(self, line: Line, jobs: list[Job | ClipWorkerError], most: int = 2) -> None:
        self.advances = 0
        self.ends: list[list[Outcome]] = []
        self.times_given_up = 0
        self.many = Many(
            jobs,
            line,  # type: ignore[arg-type]  # it has what is used
            most=lambda: most,
            advanced=self._advance,
            ended=self.ends.append,
            given_up=self._give_up,
        )
        self.many.send()

    def _advance(self) -> None:
        self.advances += 1

    def _give_up(self) -> None:
        self.times_given_up += 1


def _jobs(images: str) -> list[Job | ClipWorkerError]:
    return [Job(image=image, labels=("a", "b"), templates=("{}",), k=1) for image in images]


def _told(outcomes: list[Outcome]) -> list[str]:
    return [o.result.model if o.result else o.error.code for o in outcomes if o.result or o.error]


def test_so_many_are_on_their_way_and_each_that_ends_sends_the_next() -> None:
    line = Line()
    message = Message(line, _jobs("abcd"))
    assert list(line.sent) == ["a", "b"]

    line.answer("b")
    assert list(line.sent) == ["a", "b", "c"]
    line.answer("c", "d")
    assert message.ends == []
    line.answer("a")

    [outcomes] = message.ends
    assert _told(outcomes) == ["a", "b", "c", "d"]
    assert message.advances == 3


def test_a_picture_that_fails_and_one_that_cannot_be_asked_about_are_outcomes_too() -> None:
    line = Line()
    jobs = [*_jobs("a"), InvalidRequestError("No URI.", "BAD_URI"), *_jobs("b")]
    message = Message(line, jobs)

    line.sent["a"].set_exception(ImageInvalidError("Broken.", "DECODE_BROKEN"))
    line.answer("b")

    [outcomes] = message.ends
    assert _told(outcomes) == ["DECODE_BROKEN", "BAD_URI", "b"]


def test_however_many_end_at_once_the_stack_does_not_grow() -> None:
    broken = ImageInvalidError("Broken.", "DECODE_BROKEN")

    message = Message(Line(ends_with=broken), _jobs("x" * 5000))

    [outcomes] = message.ends
    assert _told(outcomes) == ["DECODE_BROKEN"] * 5000


def test_when_the_time_is_over_what_is_done_is_given_and_what_comes_late_is_dropped() -> None:
    line = Line()
    message = Message(line, _jobs("abcd"))
    line.answer("b")

    missing = message.many.time_out(TemporaryError("Too long.", "TASK_TIMEOUT"))

    late = "TASK_TIMEOUT"
    assert missing == 3
    assert [_told(outcomes) for outcomes in message.ends] == [[late, "b", late, late]]
    line.answer("a", "c")
    assert list(line.sent) == ["a", "b", "c"]
    assert message.many.time_out(TemporaryError("Too long.", late)) == 0
    assert len(message.ends) == 1


def test_a_pipeline_that_stops_ends_no_message() -> None:
    stopping = TemporaryError("The worker is stopping.", "STOPPING")

    message = Message(Line(ends_with=stopping), _jobs("abcd"))

    assert message.times_given_up == 2
    assert (message.ends, message.advances) == ([], 0)
