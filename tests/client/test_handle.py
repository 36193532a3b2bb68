"""Waiting for results."""

from __future__ import annotations

import pytest
from support.fake_results import NOON
from support.sent_messages import IMAGE, LABELS

from clip_worker import Client
from clip_worker.client.handle import PATIENCE_S, WINDOW, Handle, as_completed, lost
from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX, QueueKeys
from clip_worker.errors import ImageInvalidError, QueueUnavailableError, ResultTimeoutError
from clip_worker.redis.url import connect


@pytest.fixture
def handle(results):
    """Makes the handle of a task."""
    return lambda task_id="some-id", sent_at=NOON, result_ttl_s=None: Handle(
        results, task_id, lambda answer: answer, sent_at, result_ttl_s
    )


# --- one ---


def test_a_result_is_returned_when_it_appears(handle, results, time):
    results.put("some-id", "answer", at_s=10.0)
    assert handle().get(20) == "answer"
    assert 10.0 <= time.passed_s < 10.5


def test_a_result_that_was_read_stays_when_redis_drops_it(handle, results):
    results.put("some-id", "answer")
    read = handle()
    assert read.get() == "answer"
    results.appears.clear()
    assert (read.get(0), read.state) == ("answer", "SUCCESS")
    assert handle().state == "PENDING"


def test_a_failure_is_raised_each_time(handle, results):
    results.put("some-id", ImageInvalidError("No image."))
    failed = handle()
    for _ in range(2):
        with pytest.raises(ImageInvalidError, match="No image"):
            failed.get()


def test_the_default_timeout_is_the_lifetime_of_results(handle, results, time):
    results.ttl_s = 100.0
    with pytest.raises(ResultTimeoutError, match="no result after 100 s"):
        handle().get()
    assert 100.0 <= time.passed_s < 101.0


@pytest.mark.parametrize("timeout", [0, 0.0, 5])
def test_a_timeout_is_kept(handle, time, timeout):
    with pytest.raises(ResultTimeoutError, match=f"Task some-id has no result after {timeout:g} s"):
        handle().get(timeout)
    assert time.passed_s <= timeout + 0.1


@pytest.mark.parametrize(
    ("sent_at", "sentence"),
    [
        (NOON, "after 0 s; wait longer, or check that a worker is running"),
        (NOON - 90_000, "sent 90000 s ago and results are kept for 86400 s"),
        (None, "its result may have expired, 86400 s after it was stored"),
    ],
    ids=["a recent task", "an old task", "a task that another process sent"],
)
def test_the_error_says_whether_the_result_may_have_expired(handle, sent_at, sentence):
    with pytest.raises(ResultTimeoutError, match=sentence):
        handle(sent_at=sent_at).get(0)


@pytest.mark.parametrize(("own_s", "waited_s"), [(7.0, 100.0), (200.0, 200.0)])
def test_a_wait_lasts_for_a_longer_lifetime_but_not_less_for_a_shorter_one(
    handle, results, time, own_s, waited_s
):
    # given a task that is queued for longer than its result is kept
    results.ttl_s = 100.0
    results.put("late", "answer", at_s=waited_s - 10)
    assert handle("late", result_ttl_s=own_s).get() == "answer"
    # then
    one = handle("never", result_ttl_s=own_s, sent_at=NOON)
    with pytest.raises(ResultTimeoutError, match=f"results are kept for {own_s:g} s"):
        next(as_completed([one]))
    assert 2 * waited_s - 10 < time.passed_s < 2 * waited_s + 10


# --- a Redis that is away ---


def test_waiting_goes_on_through_an_outage(handle, results):
    results.is_away = lambda now_s: 5.0 < now_s < 5.0 + PATIENCE_S - 1
    results.put("some-id", "answer", at_s=30.0)
    assert handle().get() == "answer"


def test_an_outage_that_does_not_end_is_reported(handle, results, time):
    results.is_away = lambda now_s: now_s > 5.0
    with pytest.raises(QueueUnavailableError):
        handle().get()
    assert time.passed_s == pytest.approx(5.0 + PATIENCE_S, abs=0.2)


def test_at_the_timeout_an_outage_is_the_reason(handle, results, time):
    results.is_away = lambda now_s: True
    with pytest.raises(QueueUnavailableError):
        handle().get(3)
    assert time.passed_s <= 3.1


# --- many ---


def test_handles_are_yielded_in_the_order_in_which_their_tasks_end(handle, results):
    order = ["3", "1", "2", "0"]
    for place, task_id in enumerate(order):
        results.put(task_id, at_s=float(place + 1))
    assert [one.id for one in as_completed([handle(str(n)) for n in range(4)])] == order


def test_all_of_many_handles_are_yielded_and_results_are_read_by_windows(handle, results):
    # given tasks of several windows, the last of them ending first
    ids = [str(number) for number in range(3 * WINDOW + 7)]
    for number, task_id in enumerate(ids):
        results.put(task_id, at_s=float(-number % 13))
    # then
    assert {one.id for one in as_completed(list(map(handle, ids)))} == set(ids)
    assert max(results.reads) == WINDOW


def test_all_windows_are_read_before_the_timeout(handle, results):
    count = 5 * WINDOW
    results.put(str(count - 1))
    done = as_completed([handle(str(number)) for number in range(count)], timeout=0)
    assert next(done).id == str(count - 1)
    with pytest.raises(ResultTimeoutError, match=f"None of {count - 1} tasks has a result"):
        next(done)


def test_a_result_that_was_read_before_comes_first(handle, results):
    results.put("1")
    first, second = handle("0"), handle("1")
    second.get()
    results.appears.clear()
    assert next(as_completed([first, second], timeout=0)) is second


def test_no_handles_yield_none():
    assert list(as_completed([])) == []


# --- forgetting ---


@pytest.mark.integration
@pytest.mark.parametrize("database", [0, 1], ids=["the same Redis", "results in another Redis"])
def test_forgetting_deletes_the_result_and_the_note_that_the_task_was_sent(redis_url, database):
    result_url = f"{redis_url.rpartition('/')[0]}/{database}"
    with Client(redis_url, result_url=result_url) as client, connect(result_url) as stored:
        handle = client.classify(IMAGE, LABELS, task_id="once")
        stored.set(f"{RESULT_PREFIX}once", '{"status": "SUCCESS", "result": 7}')
        assert handle.state == "SUCCESS"

        handle.forget()

        assert handle.state == "PENDING"
        assert stored.keys(f"{RESULT_PREFIX}*") == []
        again = client.classify(IMAGE, LABELS, task_id="once")
        assert again.id == "once"
        with connect(redis_url) as queue:
            assert queue.llen(DEFAULT_QUEUE) == 2


# --- lost ---


@pytest.mark.integration
@pytest.mark.parametrize("database", [0, 1], ids=["the same Redis", "results in another Redis"])
def test_lost_are_tasks_of_which_redis_has_neither_a_note_nor_a_result(redis_url, database):
    result_url = f"{redis_url.rpartition('/')[0]}/{database}"
    with (
        Client(redis_url, result_url=result_url) as client,
        connect(redis_url) as queue,
        connect(result_url) as stored,
    ):
        waits, ended, gone = [
            client.classify(IMAGE, LABELS, task_id=task_id)
            for task_id in ("waits", "ended", "gone")
        ]
        stored.set(f"{RESULT_PREFIX}ended", '{"status": "SUCCESS", "result": 7}')
        assert lost([waits, ended, gone]) == []

        queue.delete(QueueKeys(DEFAULT_QUEUE).sent("ended"), QueueKeys(DEFAULT_QUEUE).sent("gone"))

        assert lost([waits, ended, gone]) == [gone]
        assert lost([]) == []
