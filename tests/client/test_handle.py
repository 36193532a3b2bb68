"""Waiting for answers: by a clock that stands still until somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from worker.client import handle as module
from worker.client.handle import PATIENCE_S, WINDOW, Handle, as_completed
from worker.errors import ImageInvalidError, QueueUnavailableError, ResultTimeoutError

DAY_S = 86_400.0
NOON = 1_763_726_400.0


class Time:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s

    def time(self) -> float:
        return NOON + self.passed_s

    def sleep(self, seconds: float) -> None:
        self.passed_s += max(seconds, 1e-3)


class Watch:
    """Stands for the class of that name, without a subscription."""

    def __init__(self, time: Time) -> None:
        self._time = time

    def wait(self, waited_s: float, left_s: float, least_s: float) -> None:
        self._time.sleep(min(left_s, max(least_s, min(0.05, waited_s / 20))))

    def leave(self) -> None:
        pass


class Results:
    """Stands for `StoredResults`: each result appears at a time, as Redis does."""

    def __init__(self, time: Time, ttl_s: float = DAY_S) -> None:
        self.ttl_s = ttl_s
        self.appears: dict[str, tuple[float, dict[str, Any]]] = {}
        self.is_away: Callable[[float], bool] = lambda _now_s: False
        self.asked: list[int] = []
        self._time = time

    def put(self, task_id: str, result: Any = None, *, at_s: float = 0.0) -> None:
        status = "FAILURE" if isinstance(result, Exception) else "SUCCESS"
        self.appears[task_id] = (at_s, {"status": status, "result": result})

    def watch(self, _task_ids: Sequence[str]) -> Watch:
        return Watch(self._time)

    def read(self, task_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        self.asked.append(len(task_ids))
        if self.is_away(self._time.passed_s):
            raise QueueUnavailableError("Redis is away.")
        found = (self.appears.get(task_id) for task_id in task_ids)
        return [one[1] if one and one[0] <= self._time.passed_s else None for one in found]

    def ended(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        pairs = zip(task_ids, self.read(task_ids), strict=True)
        return {task_id: stored for task_id, stored in pairs if stored}


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(module, "time", time)
    return time


@pytest.fixture
def results(time: Time) -> Results:
    return Results(time)


def handle(results: Results, task_id: str = "some-id", sent_at: float | None = NOON) -> Handle[Any]:
    return Handle(results, task_id, lambda answer: answer, sent_at)  # type: ignore[arg-type]


# --- one ---


def test_an_answer_is_given_when_it_is_there(results: Results, time: Time) -> None:
    results.put("some-id", "answer", at_s=10.0)
    assert handle(results).get(20) == "answer"
    assert 10.0 <= time.passed_s < 10.5


def test_an_answer_that_was_seen_stays_when_redis_drops_it(results: Results) -> None:
    results.put("some-id", "answer")
    seen = handle(results)
    assert seen.get() == "answer"
    results.appears.clear()
    assert (seen.get(0), seen.state) == ("answer", "SUCCESS")
    assert handle(results).state == "PENDING"


def test_a_failure_is_raised_each_time(results: Results) -> None:
    results.put("some-id", ImageInvalidError("No picture."))
    failed = handle(results)
    for _ in range(2):
        with pytest.raises(ImageInvalidError, match="No picture"):
            failed.get()


def test_without_a_time_limit_it_is_the_results_own(results: Results, time: Time) -> None:
    results.ttl_s = 100.0
    with pytest.raises(ResultTimeoutError, match="no result after 100 s"):
        handle(results).get()
    assert 100.0 <= time.passed_s < 101.0


@pytest.mark.parametrize("timeout", [0, 0.0, 5])
def test_a_time_limit_holds(results: Results, time: Time, timeout: float) -> None:
    with pytest.raises(ResultTimeoutError, match=f"Task some-id has no result after {timeout:g} s"):
        handle(results).get(timeout)
    assert time.passed_s <= timeout + 0.1


def test_of_a_young_task_nobody_says_that_its_result_expired(results: Results) -> None:
    with pytest.raises(ResultTimeoutError) as caught:
        handle(results).get(1)
    assert "expired" not in caught.value.message


def test_of_an_old_task_it_is_said_that_its_result_may_have_expired(results: Results) -> None:
    with pytest.raises(ResultTimeoutError, match="sent 90000 s ago and results are kept for 86400"):
        handle(results, sent_at=NOON - 90_000).get(0)


def test_of_a_task_of_others_it_is_said_when_results_expire(results: Results) -> None:
    with pytest.raises(ResultTimeoutError, match="one that has expired, 86400 s after"):
        handle(results, sent_at=None).get(0)


# --- a Redis that is away ---


def test_waiting_goes_on_through_an_outage(results: Results) -> None:
    results.is_away = lambda now_s: 5.0 < now_s < 5.0 + PATIENCE_S - 1
    results.put("some-id", "answer", at_s=30.0)
    assert handle(results).get() == "answer"


def test_an_outage_that_does_not_end_is_told(results: Results, time: Time) -> None:
    results.is_away = lambda now_s: now_s > 5.0
    with pytest.raises(QueueUnavailableError):
        handle(results).get()
    assert time.passed_s == pytest.approx(5.0 + PATIENCE_S, abs=0.2)


def test_at_the_end_of_the_time_an_outage_is_the_reason(results: Results, time: Time) -> None:
    results.is_away = lambda now_s: True
    with pytest.raises(QueueUnavailableError):
        handle(results).get(3)
    assert time.passed_s <= 3.1


# --- many ---


def test_handles_come_as_their_tasks_end(results: Results) -> None:
    order = [3, 1, 2, 0]
    for place, number in enumerate(order):
        results.put(str(number), at_s=float(place + 1))
    handles = [handle(results, str(number)) for number in range(4)]
    assert [one.id for one in as_completed(handles)] == [str(number) for number in order]


def test_of_many_handles_all_come_and_no_more_than_a_window_is_asked_for(results: Results) -> None:
    # given tasks that end in a strange order, the last of them first
    count = 3 * WINDOW + 7
    for number in range(count):
        results.put(str(number), at_s=float(-number % 13))
    handles = [handle(results, str(number)) for number in range(count)]
    # then
    assert {one.id for one in as_completed(handles)} == {str(number) for number in range(count)}
    assert max(results.asked) == WINDOW


def test_before_the_time_is_over_all_windows_have_been_asked_for(results: Results) -> None:
    count = 5 * WINDOW
    results.put(str(count - 1))
    handles = [handle(results, str(number)) for number in range(count)]
    done = as_completed(handles, timeout=0)
    assert next(done).id == str(count - 1)
    with pytest.raises(ResultTimeoutError, match=f"None of {count - 1} tasks has a result"):
        next(done)


def test_what_has_been_read_already_comes_first(results: Results) -> None:
    results.put("1")
    first, second = handle(results, "0"), handle(results, "1")
    second.get()
    results.appears.clear()
    assert next(as_completed([first, second], timeout=0)) is second


def test_of_no_handles_none_come() -> None:
    assert list(as_completed([])) == []
