"""Many pictures, some a message: what is sent, sent again, and told, without a server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worker.client.handle import Handle
from worker.client.outcome_stream import OutcomeStream
from worker.contract import Outcome
from worker.errors import (
    ExpiredError,
    InvalidRequestError,
    QueueUnavailableError,
    ResultTimeoutError,
    ServiceError,
    TemporaryError,
)

POISON = ServiceError("The task killed its worker 4 times.", "POISON")
TIMEOUT = TemporaryError("The task took longer than 300 s.", "TASK_TIMEOUT")
REVOKED = ExpiredError("Task 1 was revoked.", "REVOKED")
FINE = Outcome(status="ok")


def uri(number: int) -> str:
    return f"https://example.org/{number}.jpg"


URIS = [uri(number) for number in range(7)]


class Results:
    """Stands for `StoredResults`: every task has ended when it is asked for."""

    ttl_s = 1.0

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}

    def watch(self, _ids: object) -> Any:
        return self

    def wait(self, *_: object, **__: object) -> None:
        pass

    def leave(self) -> None:
        pass

    def ended(self, task_ids: list[str]) -> dict[str, dict[str, Any]]:
        return {task_id: self.stored[task_id] for task_id in task_ids if task_id in self.stored}


class Queue:
    """Takes messages, and answers each by what `answer` makes of its pictures."""

    def __init__(
        self, answer: Callable[[list[str]], Any] = lambda uris: [FINE] * len(uris)
    ) -> None:
        self.sent: list[list[str]] = []
        self.answer = answer
        self._results = Results()

    def send(self, uris: list[str]) -> Handle[list[Outcome]]:
        self.sent.append(uris)
        task_id = str(len(self.sent))
        result = self.answer(uris)
        status = "FAILURE" if isinstance(result, Exception) else "SUCCESS"
        if result is not None:
            self._results.stored[task_id] = {"status": status, "result": result}
        return Handle(self._results, task_id, lambda answer: answer)  # type: ignore[arg-type]

    def ask(
        self, images: Any, *, chunk: int = 3, in_flight: int = 2
    ) -> Iterator[tuple[int, Outcome]]:
        return OutcomeStream(
            images, self.send, chunk=chunk, in_flight=in_flight, timeout=None
        ).outcomes()


def codes(outcomes: Any) -> dict[int, str]:
    """Code of each position's failure, or its status."""
    pairs = list(outcomes)
    told = {
        position: outcome.error.code if outcome.error else outcome.status
        for position, outcome in pairs
    }
    assert len(told) == len(pairs), "each picture has one outcome"
    return told


@pytest.mark.parametrize("error", [POISON, TIMEOUT])
def test_of_a_message_that_one_picture_may_have_failed_each_is_sent_again_alone(
    error: Exception,
) -> None:
    queue = Queue(lambda uris: error if uri(4) in uris else [FINE] * len(uris))
    told = codes(queue.ask(URIS))
    assert told == dict.fromkeys(range(7), "ok") | {4: error.code}  # type: ignore[attr-defined]
    assert sorted(queue.sent) == sorted(
        [URIS[:3], URIS[3:6], URIS[6:], [uri(3)], [uri(4)], [uri(5)]]
    )


def test_a_picture_that_was_sent_alone_is_not_sent_again() -> None:
    queue = Queue(lambda _: POISON)
    assert codes(queue.ask(URIS[:2], chunk=1)) == {0: "POISON", 1: "POISON"}
    assert queue.sent == [[uri(0)], [uri(1)]]


def test_of_a_message_that_failed_otherwise_each_picture_has_the_error_and_the_rest_goes_on() -> (
    None
):
    queue = Queue(lambda uris: REVOKED if uri(0) in uris else [FINE] * len(uris))
    told = codes(queue.ask(URIS))
    assert told == {number: "REVOKED" if number < 3 else "ok" for number in range(7)}
    assert len(queue.sent) == 3


def test_what_is_no_uri_fails_at_once_and_is_not_sent() -> None:
    queue = Queue()
    images = [uri(0), "cat.jpg", Path("cat.jpg"), b"\xff\xd8", None, "file:///\ud83d.jpg", uri(6)]
    told = codes(queue.ask(images))
    assert told == {number: "ok" if number in (0, 6) else "BAD_URI" for number in range(7)}
    assert queue.sent == [[uri(0)], [uri(6)]]


def test_of_endless_wrong_uris_each_has_its_failure() -> None:
    outcomes = Queue().ask(itertools.repeat("cat.jpg"))
    assert codes(itertools.islice(outcomes, 100)) == dict.fromkeys(range(100), "BAD_URI")


def test_no_more_messages_are_under_way_than_may_be_when_pictures_are_sent_again() -> None:
    queue = Queue(lambda uris: POISON if len(uris) > 1 else [FINE])
    outcomes = queue.ask(URIS, chunk=7, in_flight=2)
    next(outcomes)
    assert [len(uris) for uris in queue.sent] == [7, 1, 1, 1]
    assert codes(outcomes).keys() == set(range(1, 7))


@pytest.mark.parametrize("fault", [QueueUnavailableError("Redis is away."), ZeroDivisionError()])
def test_what_had_ended_is_given_before_a_failed_sending_ends_it(fault: Exception) -> None:
    # given that the third message can't be sent
    queue = Queue()

    def answer(uris: list[str]) -> list[Outcome]:
        if uri(6) in uris:
            raise fault
        return [FINE] * len(uris)

    queue.answer = answer
    outcomes = queue.ask(URIS)
    assert [next(outcomes)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(type(fault)):
        next(outcomes)


def test_that_nothing_ends_is_told() -> None:
    queue = Queue(lambda _: None)
    outcomes = OutcomeStream(URIS, queue.send, chunk=3, in_flight=2, timeout=0).outcomes()
    with pytest.raises(ResultTimeoutError):
        next(outcomes)


def test_an_answer_for_another_number_of_pictures_is_a_failure_of_each() -> None:
    assert codes(Queue(lambda _: [FINE]).ask(URIS[:2])) == dict.fromkeys(range(2), "BAD_RESULT")


def test_of_a_wrong_question_each_picture_has_the_error() -> None:
    error = InvalidRequestError("There is no ensemble 'x'.", "UNKNOWN_ENSEMBLE")
    assert set(codes(Queue(lambda _: error).ask(URIS)).values()) == {"UNKNOWN_ENSEMBLE"}
