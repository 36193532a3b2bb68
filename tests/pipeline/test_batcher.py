"""The batch rule and its failures. Runs are held and ended by hand; time is a counter."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.held_batcher import LIMIT_S, Held, names
from support.pipeline_bench import FakeMessage

from worker.pipeline.batcher import Batch, Batcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CRASHED = ("once",)


@pytest.fixture
def make() -> Iterator[Callable[..., Held]]:
    made: list[Held] = []

    def held(**options: Any) -> Held:
        made.append(Held(**options))
        return made[-1]

    yield held
    for each in made:
        each.close()


# --- the rule ---


def test_an_idle_batcher_starts_at_once_with_one_task_and_fills_the_next_batches(
    make: Callable[..., Held],
) -> None:
    held = make()
    held.add("a")
    assert held.begun() == "a"
    # when six more come while it runs, then they run as four and two, in order
    held.add("bcdefg")
    held.end()
    assert held.begun() == "bcde"
    held.end()
    assert held.begun() == "fg"
    held.end()
    assert "".join(held.done) == "abcdefg"


def test_tenants_take_turns_in_a_batch(make: Callable[..., Held]) -> None:
    held = make()
    held.add("a", message=FakeMessage(tenant="large"))
    assert held.begun() == "a"
    # when a large tenant's tasks wait already
    held.add("bcdefg", message=FakeMessage(tenant="large"))
    held.add("xyz", message=FakeMessage(tenant="small"))
    held.end()
    # then the next batch has as many of each
    assert held.begun() == "bxcy"
    held.end()
    assert held.begun() == "dzef"


def test_batches_become_smaller_once_no_more_fits_into_the_devices_memory(
    make: Callable[..., Held],
) -> None:
    held = make()
    held.add("a")
    assert held.begun() == "a"
    held.add("bcde")
    # when
    held.max_batch = 2
    held.end()
    # then
    assert held.begun() == "bc"
    held.end()
    assert held.begun() == "de"
    held.end()


def test_an_incomplete_batch_waits_from_its_first_task_and_a_full_one_not_at_all(
    make: Callable[..., Held],
) -> None:
    # given a wait longer than the test
    held = make(max_batch=3, max_wait_s=3600.0)
    assert held.waits_after("ab")
    held.add("c")
    assert held.begun() == "abc"
    held.end()
    # when the time of an incomplete one has passed and the runner is woken, here by another task
    assert held.waits_after("d")
    held.now_s += 3600.0
    held.add("e")
    # then the second doesn't wait an hour of its own
    assert held.begun() == "de"


def test_a_batch_starts_early_enough_for_the_nearest_deadline_in_it(
    make: Callable[..., Held],
) -> None:
    # given runs that take 2 s, and an hour's wait for others
    held = make(max_wait_s=3600.0)
    held.add("abcd")
    held.begun()
    held.now_s += 2.0
    held.end()
    # when one is wanted within a minute, then its batch waits until 2 s are left
    assert held.waits_after("e", within_s=60.0)
    held.now_s += 57.0
    assert held.waits_after("f")
    held.now_s += 1.0
    held.add("g")
    assert held.begun() == "efg"
    held.end()
    # and the next one waits for others again, unless it is late already
    assert held.waits_after("h")
    held.add("i", within_s=-5.0)
    assert held.begun() == "hi"


def test_several_runners_run_several_batches_at_the_same_time(
    make: Callable[..., Held],
) -> None:
    held = make(max_batch=1, runners=3)
    held.add("abcd")
    assert sorted(held.begun() + held.begun() + held.begun()) == ["a", "b", "c"]
    assert held.idle
    for _ in range(4):
        held.end()
    assert sorted(held.done) == ["a", "b", "c", "d"]


def test_many_threads_lose_nothing(make: Callable[..., Held]) -> None:
    sizes: list[int] = []
    done: list[str] = []

    def run(batch: Batch) -> None:
        sizes.append(len(batch.tasks))
        done.extend(names(batch))

    held = make()
    batcher = Batcher(run, held._fail, max_batch=lambda: 16, runners=3)
    batcher.start()

    def produce(first: int) -> None:
        for item in range(first, 2000, 8):
            batcher.add([held.task(str(item))])

    threads = [threading.Thread(target=produce, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    batcher.stop(LIMIT_S)
    assert sorted(map(int, done)) == list(range(2000))
    assert max(sizes) <= 16


def test_an_idle_batcher_wakes_its_first_runners_first(make: Callable[..., Held]) -> None:
    held = make(max_batch=1, runners=3)
    held.add("abc")
    assert sorted(held.batch().rank for _ in range(3)) == [1, 2, 3]
    for _ in range(3):
        held.end()
    # when all have become idle, in any order, then two tasks, one after the other, run on the first
    # and the second
    held.until_idle(3)
    held.add("d")
    assert held.batch().rank == 1
    held.add("e")
    assert held.batch().rank == 2
    held.end()
    held.end()


# --- suspects ---


def test_a_suspect_runs_alone_and_others_have_their_turn_between_two(
    make: Callable[..., Held],
) -> None:
    # given two runners, one of them at work, then suspects: one message of three images, another
    held = make(max_batch=2, runners=2)
    held.add("a")
    assert held.begun() == "a"
    held.add("bcd", message=FakeMessage(crashes=CRASHED))
    held.add("X", message=FakeMessage(crashes=CRASHED))
    # then they wait for the batch under way, though a runner is free
    assert held.idle
    held.end()
    first = held.batch()
    assert (names(first), first.is_alone) == (["b", "c"], True)
    # and others wait for them
    held.add("efg")
    assert held.idle
    held.end()
    # and have their turn after each
    turn = held.batch()
    assert (names(turn), turn.is_alone) == (["e", "f"], False)
    held.end()
    assert held.begun() == "d"
    held.end()
    assert held.begun() == "g"
    held.end()
    last = held.batch()
    assert (names(last), last.is_alone) == (["X"], True)
    held.end()


# --- failures and the end ---


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_run_raises_goes_to_exactly_its_batch(
    make: Callable[..., Held], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    held = make()
    held.add("a")
    held.begun()
    held.add("bcdef")
    held.end()
    held.begun()
    held.end(error)
    assert held.failed == [(image, error) for image in "bcde"]
    assert held.begun() == "f"
    held.end()


def test_stop_runs_what_waits(make: Callable[..., Held]) -> None:
    held = make()
    held.add("a")
    held.begun()
    held.add("b")
    held.add("c", message=FakeMessage(crashes=CRASHED))
    held.close()
    assert sorted(held.done) == ["a", "b", "c"]


def test_stop_waits_no_longer_than_it_may(make: Callable[..., Held]) -> None:
    held = make()
    held.add("a")
    held.begun()
    held.batcher.stop(timeout_s=0.0)
    assert held.done == []
