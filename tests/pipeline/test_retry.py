"""Pauses between attempts, and the end of trying, by hand-computed numbers."""

from __future__ import annotations

import pytest

from clip_worker.errors import QueueUnavailableError, TemporaryError
from worker.pipeline.retry import RetryPolicy, so_far

POLICY = RetryPolicy(attempts=8, base_s=0.5, factor=2.0, longest_s=20.0, total_s=120.0)


def pause_s(
    tried: int,
    drawn: float = 0.0,
    *,
    trying_s: float = 1.0,
    left_s: float = 1000.0,
    asked_s: float | None = None,
    error: TemporaryError | None = None,
) -> float:
    error = error or TemporaryError("It failed.", "FETCH_503")
    error.retry_after_s = asked_s
    return POLICY.pause_s(
        error, tried=tried, trying_s=trying_s, left_s=left_s, random=lambda: drawn
    )


@pytest.mark.parametrize(
    ("tried", "longest_s"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 16.0), (7, 20.0)],
)
def test_a_pause_is_drawn_from_nothing_to_a_bound_that_doubles_up_to_the_longest(
    tried: int, longest_s: float
) -> None:
    assert [pause_s(tried, drawn) for drawn in (0.0, 0.25, 1.0)] == [0.0, longest_s / 4, longest_s]


def test_what_the_server_asks_for_is_the_least_and_the_draw_comes_on_top() -> None:
    assert pause_s(1, 0.0, asked_s=7.0) == 7.0
    assert pause_s(3, 0.5, asked_s=7.0) == 8.0


def test_the_jitter_shrinks_to_end_in_time_and_the_wait_asked_for_does_not() -> None:
    assert pause_s(5, 1.0, left_s=3.0) == 3.0
    assert pause_s(5, 0.5, left_s=3.0) == 1.5
    assert pause_s(5, 1.0, left_s=10.0, asked_s=9.0) == 10.0


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"tried": 8, "trying_s": 41.26, "left_s": 78.0}, "It was tried 8 times in 41.3 s."),
        (
            {"tried": 1, "trying_s": 0.2, "left_s": 119.8, "asked_s": 3600.0},
            (
                "It was tried once in 0.2 s; the server asks to wait 3600 s, longer than the "
                "task's deadline or this worker (CLIP_WORKER_RETRY_TOTAL_S=120) allow."
            ),
        ),
        (
            {"tried": 2, "trying_s": 121.0, "left_s": 0.0},
            "It was tried 2 times in 121.0 s; no time is left for another attempt.",
        ),
        (
            {"tried": 2, "trying_s": 121.0, "left_s": -5.0},
            "It was tried 2 times in 121.0 s; no time is left for another attempt.",
        ),
    ],
)
def test_the_last_error_keeps_its_class_and_code_and_gets_the_reason(
    state: dict[str, float], reason: str
) -> None:
    lower = QueueUnavailableError("Redis is away.")
    with pytest.raises(QueueUnavailableError) as caught:
        pause_s(**state, error=lower)  # type: ignore[arg-type]  # `tried` is an int
    assert caught.value.args == (f"Redis is away. {reason} [QUEUE_UNAVAILABLE]",)
    assert caught.value.__cause__ is lower


def test_a_task_that_was_never_tried_is_described_as_that() -> None:
    assert so_far(0, 12.0) == "it waited 12.0 s and was not tried"
