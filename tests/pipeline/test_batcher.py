"""The batch rule and its failures. Runs are held and let go by hand; time is a counter."""

from __future__ import annotations

import itertools
import queue
import threading
from concurrent.futures import CancelledError, Future, wait
from typing import TYPE_CHECKING

import pytest

from worker.pipeline.batcher import Batched, Batcher, BatcherStoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIMIT_S = 20.0  # a test that waits this long has failed


class HeldRun:
    """A callable for the batcher: each call waits until the test lets it go."""

    def __init__(self) -> None:
        self._begun: queue.Queue[list[str]] = queue.Queue()
        self._answers: queue.Queue[Sequence[str] | BaseException | None] = queue.Queue()

    def __call__(self, items: Sequence[str]) -> Sequence[str]:
        self._begun.put(list(items))
        answer = self._answers.get(timeout=LIMIT_S)
        if isinstance(answer, BaseException):
            raise answer
        return [item.upper() for item in items] if answer is None else answer

    def begun(self) -> list[str]:
        """The items of the next call, once it has begun."""
        return self._begun.get(timeout=LIMIT_S)

    def let_go(self, answer: Sequence[str] | BaseException | None = None) -> None:
        """End one call: with its items in capitals, with this answer, or with this error."""
        self._answers.put(answer)

    @property
    def idle(self) -> bool:
        return self._begun.empty()


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A batcher whose runs the test holds."""

    def __init__(self, *, max_batch: int = 4, runners: int = 1, max_wait_s: float = 0.0) -> None:
        self.run = HeldRun()
        self.clock = FakeClock()
        self.batcher: Batcher[str, str] = Batcher(
            self.run, max_batch=max_batch, runners=runners, max_wait_s=max_wait_s, clock=self.clock
        )

    def wake(self) -> None:
        """Have the runners look at the clock."""
        with self.batcher._changed:
            self.batcher._changed.notify_all()

    def submit(self, items: str) -> list[Future[Batched[str]]]:
        return [self.batcher.submit(item) for item in items]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.batcher.start()
    yield bench
    for _ in range(10):
        bench.run.let_go()
    bench.batcher.stop(LIMIT_S)


def values(futures: Sequence[Future[Batched[str]]]) -> str:
    return "".join(future.result(LIMIT_S).value for future in futures)


# --- the rule ---


def test_an_idle_batcher_starts_at_once_with_one_item(bench: Bench) -> None:
    [future] = bench.submit("a")
    assert bench.run.begun() == ["a"]
    bench.run.let_go()
    assert future.result(LIMIT_S).value == "A"


def test_what_comes_while_it_runs_makes_the_next_batches_up_to_the_largest(bench: Bench) -> None:
    # given a batch under way
    bench.submit("a")
    bench.run.begun()
    # when six more come
    futures = bench.submit("bcdefg")
    bench.run.let_go()
    # then they run as four and two, in order
    assert bench.run.begun() == ["b", "c", "d", "e"]
    bench.run.let_go()
    assert bench.run.begun() == ["f", "g"]
    bench.run.let_go()
    assert values(futures) == "BCDEFG"
    assert [future.result().batch_size for future in futures] == [4, 4, 4, 4, 2, 2]


def test_a_result_tells_how_long_it_waited_and_ran(bench: Bench) -> None:
    # given an item that waits 2 s for a batch before it
    bench.submit("a")
    bench.run.begun()
    [future] = bench.submit("b")
    bench.clock.now_s += 2
    bench.run.let_go()
    bench.run.begun()
    # when it runs for 0.5 s
    bench.clock.now_s += 0.5
    bench.run.let_go()
    # then
    assert future.result(LIMIT_S) == Batched("B", wait_s=2.0, run_s=0.5, batch_size=1)


def test_an_incomplete_batch_waits_from_its_first_item_and_a_full_one_not_at_all() -> None:
    # given a wait longer than the test
    bench = Bench(max_batch=3, max_wait_s=3600.0)
    bench.batcher.start()
    # when two items come, then the third
    futures = bench.submit("ab")
    assert bench.run.idle
    futures += bench.submit("c")
    # then
    assert bench.run.begun() == ["a", "b", "c"]
    bench.run.let_go()
    assert values(futures) == "ABC"
    bench.batcher.stop(LIMIT_S)


def test_an_incomplete_batch_starts_once_the_wait_is_over() -> None:
    # given one item that waits
    bench = Bench(max_batch=3, max_wait_s=3600.0)
    bench.batcher.start()
    futures = bench.submit("a")
    # when its time has passed and the runner is woken, here by another item
    bench.clock.now_s += 3600.0
    futures += bench.submit("b")
    # then the second doesn't wait an hour of its own
    assert bench.run.begun() == ["a", "b"]
    bench.run.let_go()
    assert values(futures) == "AB"
    bench.batcher.stop(LIMIT_S)


def test_a_batch_starts_early_enough_for_the_nearest_deadline_in_it() -> None:
    # given runs that take 2 s, and an hour's wait for others
    bench = Bench(max_batch=3, max_wait_s=3600.0)
    bench.batcher.start()
    futures = bench.submit("abc")
    bench.run.begun()
    bench.clock.now_s += 2.0
    bench.run.let_go()
    assert values(futures) == "ABC"
    # when one is wanted within a minute, 58 s pass, and the runner is woken
    hurried = bench.batcher.submit("d", within_s=60.0)
    assert bench.batcher._rest_s() == 58.0
    bench.clock.now_s += 58.0
    bench.wake()
    # then its batch starts, for 2 s are left
    assert bench.run.begun() == ["d"]
    bench.run.let_go()
    assert hurried.result(LIMIT_S).wait_s == 58.0
    # and the next one waits for others again
    futures = bench.submit("e")
    assert bench.batcher._rest_s() == 3600.0
    bench.run.let_go()
    bench.batcher.stop(LIMIT_S)
    assert values(futures) == "E"


def test_the_hurry_of_one_that_waits_outlives_the_batch_before_it() -> None:
    # given a full batch whose last item finds no place in it and is in a hurry
    bench = Bench(max_batch=2, max_wait_s=3600.0)
    futures = [*bench.submit("ab"), bench.batcher.submit("c", within_s=30.0)]
    bench.batcher.start()
    assert bench.run.begun() == ["a", "b"]
    bench.run.let_go()
    assert values(futures[:2]) == "AB"
    # then it still counts
    assert bench.batcher._rest_s() == 30.0
    bench.clock.now_s += 30.0
    bench.wake()
    assert bench.run.begun() == ["c"]
    bench.run.let_go()
    bench.batcher.stop(LIMIT_S)


@pytest.mark.parametrize("within_s", [0.0, -5.0])
def test_what_is_late_already_starts_at_once(within_s: float) -> None:
    bench = Bench(max_batch=3, max_wait_s=3600.0)
    bench.batcher.start()
    bench.batcher.submit("a", within_s=within_s)
    assert bench.run.begun() == ["a"]
    bench.run.let_go()
    bench.batcher.stop(LIMIT_S)


def test_the_longest_run_under_way_is_seen_for_as_long_as_it_runs() -> None:
    # given two runners
    bench = Bench(max_batch=1, runners=2)
    bench.batcher.start()
    assert bench.batcher.oldest_run_s() == 0
    bench.submit("a")
    bench.run.begun()
    bench.clock.now_s += 5.0
    [second] = bench.submit("b")
    bench.run.begun()
    bench.clock.now_s += 2.0
    # then
    assert bench.batcher.oldest_run_s() == 7.0
    bench.run.let_go()
    bench.run.let_go()
    bench.batcher.stop(LIMIT_S)
    assert bench.batcher.oldest_run_s() == 0
    assert second.result().value == "B"


def test_several_runners_run_several_batches_at_the_same_time() -> None:
    bench = Bench(max_batch=1, runners=3)
    bench.batcher.start()
    futures = bench.submit("abcd")
    # then three are under way before one has ended
    assert sorted(bench.run.begun() + bench.run.begun() + bench.run.begun()) == ["a", "b", "c"]
    assert bench.run.idle
    for _ in range(4):
        bench.run.let_go()
    assert values(futures) == "ABCD"
    bench.batcher.stop(LIMIT_S)


def test_a_runner_that_finds_nothing_left_when_it_wakes_lives_on() -> None:
    # given two runners that wait for the same incomplete batch
    bench = Bench(max_batch=2, runners=2, max_wait_s=3600.0)
    bench.batcher.start()
    for round_ in range(20):
        # when one of them takes it, the other wakes to nothing
        futures = bench.submit("ab")
        bench.run.begun()
        bench.run.let_go()
        assert values(futures) == "AB", round_
        with bench.batcher._changed:
            bench.batcher._changed.notify_all()
    # then both still serve
    futures = bench.submit("abcd")
    assert [len(bench.run.begun()), len(bench.run.begun())] == [2, 2]
    bench.run.let_go()
    bench.run.let_go()
    assert values(futures) == "ABCD"
    bench.batcher.stop(LIMIT_S)


def test_many_threads_lose_nothing_and_mix_nothing_up() -> None:
    # given 8 threads that submit 250 items each, and 3 runners
    sizes: list[int] = []

    def square(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        return [item * item for item in items]

    batcher: Batcher[int, int] = Batcher(square, max_batch=16, runners=3)
    batcher.start()
    results: dict[int, int] = {}

    def produce(first: int) -> None:
        futures = {item: batcher.submit(item) for item in range(first, 2000, 8)}
        results.update({item: future.result(LIMIT_S).value for item, future in futures.items()})

    threads = [threading.Thread(target=produce, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    batcher.stop(LIMIT_S)
    # then
    assert results == {item: item * item for item in range(2000)}
    assert (sum(sizes), max(sizes) <= 16, min(sizes) >= 1) == (2000, True, True)


# --- failures ---


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_run_raises_goes_to_exactly_its_batch(bench: Bench, error: BaseException) -> None:
    # given a batch of two behind one that runs, and one more behind these
    bench.submit("a")
    bench.run.begun()
    failing = bench.submit("bcde")
    after = bench.submit("f")
    bench.run.let_go()
    # when the second batch fails
    bench.run.begun()
    bench.run.let_go(error)
    # then its four hear of it and the next one runs
    assert [future.exception(LIMIT_S) for future in failing] == [error] * 4
    bench.run.begun()
    bench.run.let_go()
    assert values(after) == "F"


@pytest.mark.parametrize("answer", [[], ["X"], ["X", "Y", "Z"]])
def test_a_run_of_the_wrong_length_fails_its_batch(bench: Bench, answer: list[str]) -> None:
    bench.submit("a")
    bench.run.begun()
    futures = bench.submit("bc")
    bench.run.let_go()
    bench.run.begun()
    bench.run.let_go(answer)
    for future in futures:
        with pytest.raises(RuntimeError, match=f"2 items went in, {len(answer)} results came out"):
            future.result(LIMIT_S)
    # and the runner lives on
    after = bench.submit("d")
    bench.run.begun()
    bench.run.let_go()
    assert values(after) == "D"


def test_a_cancelled_item_is_not_run_and_takes_no_place(bench: Bench) -> None:
    # given five items behind a running batch, two of them cancelled
    bench.submit("a")
    bench.run.begun()
    futures = bench.submit("bcdefg")
    assert [futures[0].cancel(), futures[2].cancel()] == [True, True]
    bench.run.let_go()
    # then the others fill one batch
    assert bench.run.begun() == ["c", "e", "f", "g"]
    bench.run.let_go()
    done = wait(futures, timeout=LIMIT_S)
    assert not done.not_done
    with pytest.raises(CancelledError):
        futures[0].result()


def test_a_batch_of_nothing_but_cancelled_items_is_not_run(bench: Bench) -> None:
    bench.submit("a")
    bench.run.begun()
    for future in bench.submit("bc"):
        assert future.cancel()
    bench.run.let_go()
    # then the runner goes on with what comes next
    bench.submit("d")
    assert bench.run.begun() == ["d"]


def test_an_item_that_runs_can_not_be_cancelled_any_more(bench: Bench) -> None:
    [future] = bench.submit("a")
    bench.run.begun()
    assert not future.cancel()


def test_a_callback_that_raises_does_not_end_the_runner(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    [future] = bench.submit("a")
    future.add_done_callback(lambda _: 1 / 0)
    bench.run.begun()
    bench.run.let_go()
    after = bench.submit("b")
    bench.run.begun()
    bench.run.let_go()
    assert values(after) == "B"


# --- receivers ---


class Box:
    """Takes results in one call a batch."""

    def __init__(self, *, refused: str = "", stopped: str = "", fails: bool = False) -> None:
        self.refused = refused
        self.stopped = stopped
        self.fails = fails
        self.taken: list[str] = []
        self.errors: list[tuple[str, BaseException]] = []
        self.heard = threading.Semaphore(0)

    def accepts(self, key: str) -> bool:
        return key not in self.refused

    def may_run(self, key: str) -> bool:
        return key not in self.stopped

    def take(self, keys: Sequence[str], results: Sequence[Batched[str]]) -> None:
        self.taken.append("".join(f"{key}{r.value}" for key, r in zip(keys, results, strict=True)))
        self.heard.release()
        if self.fails:
            raise ZeroDivisionError

    def fail(self, keys: Sequence[str], error: BaseException) -> None:
        self.errors.append(("".join(keys), error))
        self.heard.release()


def test_each_receiver_of_a_batch_gets_its_results_in_one_call(bench: Bench) -> None:
    # given a batch for two receivers and a future, behind one that runs
    bench.submit("a")
    bench.run.begun()
    one, two = Box(), Box()
    for box, item in ((one, "b"), (two, "c"), (one, "d")):
        bench.batcher.submit_for(box, item + "=", item)
    [future] = bench.submit("e")
    bench.run.let_go()
    assert bench.run.begun() == ["b", "c", "d", "e"]
    bench.run.let_go()
    # then
    for box in (one, two):
        assert box.heard.acquire(timeout=LIMIT_S)
    assert (one.taken, two.taken) == (["b=Bd=D"], ["c=C"])
    assert future.result(LIMIT_S).value == "E"


def test_what_a_receiver_does_not_accept_any_more_is_not_run(bench: Bench) -> None:
    bench.submit("a")
    bench.run.begun()
    box = Box(refused="c")
    for item in "bcd":
        bench.batcher.submit_for(box, item, item)
    bench.run.let_go()
    assert bench.run.begun() == ["b", "d"]
    bench.run.let_go()
    assert box.heard.acquire(timeout=LIMIT_S)
    assert box.taken == ["bBdD"]


def test_a_receiver_hears_of_a_failed_run_and_of_the_end() -> None:
    bench = Bench(max_batch=2)
    bench.batcher.start()
    box, error = Box(), ValueError("bad")
    bench.batcher.submit_for(box, "a", "a")
    bench.run.begun()
    for item in "bcd":
        bench.batcher.submit_for(box, item, item)
    bench.run.let_go(error)
    assert bench.run.begun() == ["b", "c"]
    # when the second run hangs
    bench.batcher.stop(timeout_s=0.0)
    # then it and the one behind it have failed
    assert box.errors[0] == ("a", error)
    assert sorted(keys for keys, _ in box.errors[1:]) == ["bc", "d"]
    assert all(isinstance(error, BatcherStoppedError) for _, error in box.errors[1:])
    with pytest.raises(BatcherStoppedError):
        bench.batcher.submit_for(box, "e", "e")
    bench.run.let_go()


def test_a_receiver_that_fails_keeps_nobody_else_from_results_and_ends_no_runner(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.submit("a")
    bench.run.begun()
    bench.batcher.submit_for(Box(fails=True), "b", "b")
    [future] = bench.submit("c")
    bench.run.let_go()
    bench.run.begun()
    bench.run.let_go()
    assert future.result(LIMIT_S).value == "C"
    assert "A batch's receiver failed" in caplog.text


# --- the end ---


def test_stop_runs_what_waits_and_ends_the_runners() -> None:
    bench = Bench(max_batch=2, runners=2)
    bench.batcher.start()
    futures = bench.submit("abcdefg")
    for _ in range(7):
        bench.run.let_go()
    # when
    bench.batcher.stop(LIMIT_S)
    # then
    assert values(futures) == "ABCDEFG"
    assert not any(thread.is_alive() for thread in bench.batcher._threads)


def test_stop_does_not_wait_for_an_incomplete_batch_to_fill() -> None:
    bench = Bench(max_batch=4, max_wait_s=3600.0)
    bench.batcher.start()
    futures = bench.submit("ab")
    bench.run.let_go()
    bench.batcher.stop(LIMIT_S)
    assert values(futures) == "AB"


def test_after_stop_nothing_is_taken(bench: Bench) -> None:
    bench.batcher.stop(LIMIT_S)
    with pytest.raises(BatcherStoppedError):
        bench.batcher.submit("a")


def test_stop_may_be_called_twice(bench: Bench) -> None:
    bench.batcher.stop(LIMIT_S)
    bench.batcher.stop(LIMIT_S)


def test_what_waits_in_a_batcher_that_was_never_started_fails_at_stop() -> None:
    bench = Bench()
    futures = bench.submit("ab")
    bench.batcher.stop(LIMIT_S)
    for future in futures:
        assert isinstance(future.exception(LIMIT_S), BatcherStoppedError)


def test_what_is_not_done_in_time_fails_be_it_waiting_running_or_cancelled() -> None:
    # given a run that hangs, and three items behind it of which one is cancelled
    bench = Bench(max_batch=1)
    bench.batcher.start()
    futures = bench.submit("abcd")
    bench.run.begun()
    futures[1].cancel()
    # when
    bench.batcher.stop(timeout_s=0.0)
    # then each has ended
    assert not wait(futures, timeout=LIMIT_S).not_done
    for future in (futures[0], *futures[2:]):
        assert isinstance(future.exception(LIMIT_S), BatcherStoppedError)
    # and the run that ends after all harms nothing
    bench.run.let_go()
    bench.batcher._threads[0].join(LIMIT_S)
    assert not bench.batcher._threads[0].is_alive()
    assert isinstance(futures[0].exception(), BatcherStoppedError)


def test_each_future_ends_once_and_only_once() -> None:
    # given callbacks that count
    ended = itertools.count()
    bench = Bench(max_batch=3)
    bench.batcher.start()
    for future in bench.submit("abcdefgh"):
        future.add_done_callback(lambda _: next(ended))
    for _ in range(8):
        bench.run.let_go()
    bench.batcher.stop(LIMIT_S)
    assert next(ended) == 8


def test_what_may_not_run_as_its_batch_begins_is_left_out(bench: Bench) -> None:
    bench.submit("a")
    bench.run.begun()
    box = Box(stopped="c")
    for item in "bcd":
        bench.batcher.submit_for(box, item, item)
    bench.run.let_go()
    assert bench.run.begun() == ["b", "d"]
    bench.run.let_go()
    assert box.heard.acquire(timeout=LIMIT_S)
    assert box.taken == ["bBdD"]
    # and where nothing is left, nothing is run
    bench.batcher.submit_for(box, "c", "c")
    bench.submit("e")
    assert bench.run.begun() == ["e"]
    bench.run.let_go()
