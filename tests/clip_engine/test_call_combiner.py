"""Calls of several threads that are computed together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch

from clip_engine.inference.call_combiner import CallCombiner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from torch import Tensor

LIMIT_S = 20.0


class Doubling:
    """Doubles rows, and remembers how many it was given at a time; it waits unless it is free."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()
        self.wrong = -1  # a value that is refused

    def __call__(self, rows: Sequence[Tensor]) -> Tensor:
        self.sizes.append(len(rows))
        self.begun.release()
        assert self.free.wait(LIMIT_S)
        if self.wrong in rows:
            raise ValueError(f"{self.wrong} can't be doubled")
        return 2 * torch.stack(list(rows))


def rows(*values: int) -> list[Tensor]:
    return [torch.tensor([value]) for value in values]


def wait_until_queued(calls: CallCombiner, count: int) -> None:
    done = threading.Event()
    for _ in range(2000):
        if len(calls._queue) == count:
            return
        done.wait(0.01)
    raise AssertionError(f"{len(calls._queue)} calls are queued, not {count}")


def test_a_call_alone_is_computed_at_once() -> None:
    doubling = Doubling()
    calls = CallCombiner(doubling, most=4)
    assert calls(rows(1, 2)).tolist() == [[2], [4]]
    assert calls(rows(3)).tolist() == [[6]]
    assert doubling.sizes == [2, 1]


def come_while_one_is_computed(
    doubling: Doubling, most: int, *later: Sequence[Tensor]
) -> list[Future[Tensor]]:
    """What becomes of a call with the row 0, and of those who came while it was computed."""
    calls = CallCombiner(doubling, most=most)
    doubling.free.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(calls, rows(0))]
        assert doubling.begun.acquire(timeout=LIMIT_S)
        for count, some in enumerate(later, start=1):
            asked.append(pool.submit(calls, some))
            wait_until_queued(calls, count)
        doubling.free.set()
    return asked


def test_those_who_come_while_one_is_computed_are_computed_together() -> None:
    doubling = Doubling()
    asked = come_while_one_is_computed(doubling, 4, *(rows(value) for value in range(1, 6)))
    assert [call.result().item() for call in asked] == [0, 2, 4, 6, 8, 10]
    assert doubling.sizes == [1, 4, 1]


def test_a_call_that_is_larger_than_what_is_gathered_is_computed_alone() -> None:
    doubling = Doubling()
    asked = come_while_one_is_computed(doubling, 2, rows(1, 2, 3), rows(4))
    assert [call.result().flatten().tolist() for call in asked] == [[0], [2, 4, 6], [8]]
    assert doubling.sizes == [1, 3, 1]


def test_as_many_are_computed_at_once_as_there_are_places() -> None:
    doubling = Doubling()
    calls = CallCombiner(doubling, most=4, at_once=2)
    with ThreadPoolExecutor(8) as pool:
        doubling.free.clear()
        asked = []
        for value in range(2):
            asked.append(pool.submit(calls, rows(value)))
            assert doubling.begun.acquire(timeout=LIMIT_S)
        asked.append(pool.submit(calls, rows(2)))
        wait_until_queued(calls, 1)
        assert doubling.sizes == [1, 1]
        doubling.free.set()
        assert [call.result(LIMIT_S).item() for call in asked] == [0, 2, 4]


def test_an_error_goes_to_all_whose_rows_were_computed_and_to_nobody_else() -> None:
    doubling = Doubling()
    doubling.wrong = 2
    first, *others = come_while_one_is_computed(doubling, 4, rows(1), rows(2))
    assert first.result().tolist() == [[0]]
    for other in others:
        with pytest.raises(ValueError, match="2 can't be doubled"):
            other.result()
    assert CallCombiner(doubling, most=4)(rows(3)).tolist() == [[6]]


def test_results_may_have_no_columns() -> None:
    calls = CallCombiner(lambda some: torch.zeros(len(some), 0), most=4)
    assert calls(rows(1, 2)).shape == (2, 0)


def test_a_thousand_calls_of_32_threads_all_get_their_own() -> None:
    doubling = Doubling()
    calls = CallCombiner(doubling, most=16, at_once=3)
    with ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(calls, rows(*range(i, i + 1 + i % 5))) for i in range(1000)]
        for i, call in enumerate(asked):
            assert call.result(LIMIT_S).flatten().tolist() == [
                2 * value for value in range(i, i + 1 + i % 5)
            ]
    assert sum(doubling.sizes) == sum(1 + i % 5 for i in range(1000))
