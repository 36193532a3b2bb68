"""The batch rule and its failures. Runs are held and let go by hand; time is a counter."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.pipeline_bench import FakeMessage

from worker.pipeline.batcher import GROUP, Batch, Batcher, BatcherStoppedError
from worker.pipeline.image_task import ImageTask, TaggingRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LIMIT_S = 20.0  # a test that waits this long has failed
REQUEST = TaggingRequest(labels=("a",), templates=("{}",), k=1)


class Held:
    """A batcher whose runs the test holds."""

    def __init__(self, *, max_batch: int = 4, runners: int = 1, max_wait_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.done: list[str] = []
        self.failed: list[tuple[str, BaseException]] = []
        self._begun: queue.Queue[Batch] = queue.Queue()
        self._ends: queue.Queue[BaseException | None] = queue.Queue()
        self._ended = threading.Semaphore(0)
        self.batcher = Batcher(
            self._run,
            self._fail,
            max_batch=max_batch,
            runners=runners,
            max_wait_s=max_wait_s,
            clock=lambda: self.now_s,
        )

    def _run(self, batch: Batch) -> None:
        self._begun.put(batch)
        error = self._ends.get(timeout=LIMIT_S)
        if error is not None:
            raise error
        self.done += names(batch)
        self._ended.release()

    def _fail(self, tasks: Sequence[ImageTask], error: BaseException) -> None:
        self.failed += [(task.image, error) for task in tasks]
        self._ended.release()

    def add(self, images: str, within_s: float | None = None, message: Any = None) -> None:
        tasks = [ImageTask(image, REQUEST, None, message) for image in images]  # type: ignore[arg-type]  # nobody waits
        self.batcher.add(tasks, [within_s] * len(tasks))

    def begun(self) -> str:
        """The images of the next batch, once it has begun."""
        return "".join(names(self.batch()))

    def batch(self) -> Batch:
        return self._begun.get(timeout=LIMIT_S)

    @property
    def idle(self) -> bool:
        return self._begun.empty()

    def let_go(self, error: BaseException | None = None) -> None:
        """End one run, and wait until it has ended."""
        self._ends.put(error)
        assert self._ended.acquire(timeout=LIMIT_S)

    def wake(self) -> None:
        """Have the runners look at the clock."""
        with self.batcher._changed:
            self.batcher._changed.notify_all()

    def close(self) -> None:
        for _ in range(20):
            self._ends.put(None)
        self.batcher.stop(LIMIT_S)


def names(batch: Batch) -> list[str]:
    return [task.image for task in batch.tasks]


@pytest.fixture
def make() -> Iterator[Callable[..., Held]]:
    made: list[Held] = []

    def held(**options: Any) -> Held:
        made.append(Held(**options))
        made[-1].batcher.start()
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
    held.let_go()
    assert held.begun() == "bcde"
    held.let_go()
    assert held.begun() == "fg"
    held.let_go()
    assert "".join(held.done) == "abcdefg"


def test_an_incomplete_batch_waits_from_its_first_task_and_a_full_one_not_at_all(
    make: Callable[..., Held],
) -> None:
    # given a wait longer than the test
    held = make(max_batch=3, max_wait_s=3600.0)
    held.add("ab")
    assert held.idle
    held.add("c")
    assert held.begun() == "abc"
    held.let_go()
    # when the time of an incomplete one has passed and the runner is woken, here by another task
    held.add("d")
    held.now_s += 3600.0
    held.add("e")
    # then the second doesn't wait an hour of its own
    assert held.begun() == "de"


def test_a_batch_starts_early_enough_for_the_nearest_deadline_in_it(
    make: Callable[..., Held],
) -> None:
    # given runs that take 2 s, and an hour's wait for others
    held = make(max_batch=3, max_wait_s=3600.0)
    held.add("abc")
    held.begun()
    held.now_s += 2.0
    held.let_go()
    # when one is wanted within a minute, 58 s pass, and the runner is woken
    held.add("d", within_s=60.0)
    held.now_s += 58.0
    held.wake()
    # then its batch starts, for 2 s are left; and the next one waits for others again
    assert held.begun() == "d"
    held.let_go()
    held.add("e")
    assert held.idle
    assert held.batcher._rest_s() == 3600.0


@pytest.mark.parametrize("within_s", [0.0, -5.0])
def test_what_is_late_already_starts_at_once(make: Callable[..., Held], within_s: float) -> None:
    held = make(max_batch=3, max_wait_s=3600.0)
    held.add("a", within_s=within_s)
    assert held.begun() == "a"


def test_several_runners_run_several_batches_at_the_same_time(
    make: Callable[..., Held],
) -> None:
    held = make(max_batch=1, runners=3)
    held.add("abcd")
    assert sorted(held.begun() + held.begun() + held.begun()) == ["a", "b", "c"]
    assert held.idle
    for _ in range(4):
        held.let_go()
    assert sorted(held.done) == ["a", "b", "c", "d"]


def test_many_threads_lose_nothing() -> None:
    sizes: list[int] = []
    done: list[str] = []

    def run(batch: Batch) -> None:
        sizes.append(len(batch.tasks))
        done.extend(names(batch))

    batcher = Batcher(run, lambda _tasks, _error: None, max_batch=16, runners=3)
    batcher.start()

    def produce(first: int) -> None:
        for item in range(first, 2000, 8):
            batcher.add([ImageTask(str(item), REQUEST, None)], [None])  # type: ignore[arg-type]  # nobody waits

    threads = [threading.Thread(target=produce, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    batcher.stop(LIMIT_S)
    assert sorted(map(int, done)) == list(range(2000))
    assert max(sizes) <= 16


# --- suspects ---


def test_suspects_of_one_crash_run_a_few_together_and_of_two_alone_and_nothing_beside_them(
    make: Callable[..., Held],
) -> None:
    # given two runners at work, then suspects
    held = make(max_batch=32, runners=2)
    held.add("a")
    assert held.begun() == "a"
    for i in range(GROUP + 2):
        held.add(str(i % 10), message=FakeMessage(crashes=("once",)))
    held.add("X", message=FakeMessage(crashes=("once", "twice")))
    # then they wait for the batch under way, though a runner is free
    assert held.idle
    held.let_go()
    first = held.batch()
    assert ("".join(names(first)), first.together) == ("01234567", GROUP)
    # and others wait for them
    held.add("b")
    assert held.idle
    held.let_go()
    # and have their turn between them
    assert held.begun() == "b"
    held.let_go()
    second = held.batch()
    assert ("".join(names(second)), second.together) == ("89", 2)
    held.let_go()
    third = held.batch()
    assert (names(third), third.together) == (["X"], 1)
    held.let_go()


def test_the_images_of_one_suspect_run_together(make: Callable[..., Held]) -> None:
    held = make(max_batch=3)
    held.add("a")
    held.begun()
    held.add("bcde", message=FakeMessage(crashes=("once", "twice")))
    held.let_go()
    batches = []
    for _ in range(2):
        batches.append(held.batch())
        held.let_go()
    assert [("".join(names(batch)), batch.together) for batch in batches] == [("bcd", 1), ("e", 1)]


# --- failures and the end ---


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_run_raises_goes_to_exactly_its_batch(
    make: Callable[..., Held], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    held = make()
    held.add("a")
    held.begun()
    held.add("bcdef")
    held.let_go()
    held.begun()
    held.let_go(error)
    assert held.failed == [(image, error) for image in "bcde"]
    assert held.begun() == "f"
    held.let_go()


def test_stop_runs_what_waits_and_takes_no_more(make: Callable[..., Held]) -> None:
    held = make()
    held.add("a")
    held.begun()
    held.add("b")
    held.add("c", message=FakeMessage(crashes=("once",)))
    held.close()
    assert sorted(held.done) == ["a", "b", "c"]
    held.add("d")
    [(image, error)] = held.failed
    assert (image, type(error)) == ("d", BatcherStoppedError)


def test_what_is_not_done_within_stops_limit_fails(make: Callable[..., Held]) -> None:
    held = make()
    held.add("a")
    held.begun()
    held.add("b")
    held.batcher.stop(timeout_s=0.0)
    assert sorted(image for image, _ in held.failed) == ["a", "b"]
    assert {type(error) for _, error in held.failed} == {BatcherStoppedError}
