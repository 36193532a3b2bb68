"""`classify_many` without a server: which images are sent, sent again, or fail."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from clip_worker.client.handle import Handle
from clip_worker.client.outcome_stream import OutcomeStream
from clip_worker.contract import Outcome
from clip_worker.errors import (
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
UNKNOWN = InvalidRequestError("There is no ensemble 'x'.", "UNKNOWN_ENSEMBLE")
FINE = Outcome(status="ok")
URIS = [f"https://example.org/{number}.jpg" for number in range(7)]


class Queue:
    """Takes messages and replies to each with what `reply` makes of its images; None for never."""

    def __init__(self, results, reply) -> None:
        self.sent = []
        self.reply = reply
        self._results = results

    def send(self, uris):
        self.sent.append(uris)
        task_id = str(len(self.sent))
        if (result := self.reply(uris)) is not None:
            self._results.put(task_id, result)
        return Handle(self._results, task_id, lambda answer: answer)

    def outcomes(self, images, *, chunk=3, in_flight=2, timeout=None, **options):
        limits = {"chunk": chunk, "in_flight": in_flight, "timeout": timeout}
        return OutcomeStream(images, self.send, **limits, **options).outcomes()


@pytest.fixture
def queue(results):
    """Makes a queue whose workers reply as given; with success by default."""
    return lambda reply=lambda uris: [FINE] * len(uris): Queue(results, reply)


def codes(outcomes) -> dict[int, str]:
    """For each position the code of its failure, or its status."""
    pairs = list(outcomes)
    found = {
        position: outcome.error.code if outcome.error else outcome.status
        for position, outcome in pairs
    }
    assert len(found) == len(pairs), "each image has one outcome"
    return found


@pytest.mark.parametrize("error", [POISON, TIMEOUT])
def test_if_one_image_may_have_failed_its_message_each_image_is_sent_again_alone(queue, error):
    poisoned = queue(lambda uris: error if URIS[4] in uris else [FINE] * len(uris))
    assert codes(poisoned.outcomes(URIS)) == dict.fromkeys(range(7), "ok") | {4: error.code}
    again = [[URIS[3]], [URIS[4]], [URIS[5]]]
    assert sorted(poisoned.sent) == sorted([URIS[:3], URIS[3:6], URIS[6:], *again])


def test_results_that_were_read_are_deleted_unless_they_are_to_be_kept(queue, results):
    mixed = queue(lambda uris: REVOKED if URIS[0] in uris else [FINE] * len(uris))
    list(mixed.outcomes(URIS, keep_results=True))
    assert results.forgotten == []
    list(mixed.outcomes(URIS))
    assert sorted(results.forgotten) == ["4", "5", "6"]


def test_a_result_that_cannot_be_deleted_is_read_nevertheless(queue, results):
    sent = queue()
    results.forget = lambda _: (_ for _ in ()).throw(QueueUnavailableError("Redis is away."))
    assert codes(sent.outcomes(URIS)) == dict.fromkeys(range(7), "ok")


def test_an_image_that_was_sent_alone_is_not_sent_again(queue):
    poisoned = queue(lambda _: POISON)
    assert codes(poisoned.outcomes(URIS[:2], chunk=1)) == {0: "POISON", 1: "POISON"}
    assert poisoned.sent == [URIS[:1], URIS[1:2]]


@pytest.mark.parametrize("error", [REVOKED, UNKNOWN])
def test_if_a_message_fails_otherwise_its_images_have_the_error_and_the_others_go_on(queue, error):
    failing = queue(lambda uris: error if URIS[0] in uris else [FINE] * len(uris))
    found = codes(failing.outcomes(URIS))
    assert found == {number: error.code if number < 3 else "ok" for number in range(7)}
    assert len(failing.sent) == 3


def test_a_malformed_uri_fails_at_once_and_is_not_sent(queue):
    fine = queue()
    images = [URIS[0], "cat.jpg", Path("cat.jpg"), b"\xff\xd8", None, "file:///\ud83d", URIS[6]]
    found = codes(fine.outcomes(images))
    assert found == {number: "ok" if number in (0, 6) else "BAD_URI" for number in range(7)}
    assert fine.sent == [[URIS[0]], [URIS[6]]]


def test_an_endless_source_of_malformed_uris_yields_their_failures(queue):
    outcomes = itertools.islice(queue().outcomes(itertools.repeat("cat.jpg")), 100)
    assert codes(outcomes) == dict.fromkeys(range(100), "BAD_URI")


def test_images_that_are_sent_again_count_as_in_flight(queue):
    poisoned = queue(lambda uris: POISON if len(uris) > 1 else [FINE])
    outcomes = poisoned.outcomes(URIS, chunk=7, in_flight=2)
    next(outcomes)
    assert [len(uris) for uris in poisoned.sent] == [7, 1, 1, 1]
    assert codes(outcomes).keys() == set(range(1, 7))


@pytest.mark.parametrize("fault", [QueueUnavailableError("Redis is away."), ZeroDivisionError()])
def test_outcomes_that_had_arrived_are_yielded_before_sending_fails(queue, fault):
    # given that the third message can't be sent
    def reply(uris):
        if URIS[6] in uris:
            raise fault
        return [FINE] * len(uris)

    outcomes = queue(reply).outcomes(URIS)
    assert [next(outcomes)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(type(fault)):
        next(outcomes)


def test_if_no_message_ends_it_times_out(queue):
    with pytest.raises(ResultTimeoutError):
        next(queue(lambda _: None).outcomes(URIS, timeout=0))


def test_a_reply_with_the_wrong_number_of_outcomes_fails_each_image(queue):
    outcomes = queue(lambda _: [FINE]).outcomes(URIS[:2])
    assert codes(outcomes) == dict.fromkeys(range(2), "BAD_RESULT")
