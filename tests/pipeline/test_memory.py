"""Pictures that are larger than the memory there is: they wait, on no thread, and all end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_timer import FakeTimer
from support.pipeline_bench import LIMIT_S, NOW, Bench, HoldingGate, jpeg
from support.tiny_clip import tiny_engine

from clip_engine.errors import ImageError
from worker.errors import (
    ExpiredError,
    ImageInvalidError,
    ImageUnavailableError,
    TemporaryError,
)
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.host_limiter import Hosts
from worker.pipeline.memory_budget import MemoryBudget
from worker.pipeline.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clip_engine.engine import Engine
    from worker.pipeline.gate import Go, Refuse
    from worker.pipeline.job import Job
    from worker.sources.reservation import Reserve

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine(buckets=(8,))


@pytest.fixture
def make(engine: Engine) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(total_mib: float = 8, **collaborators: Any) -> Bench:
        budget = collaborators.pop("budget", None) or MemoryBudget(int(total_mib * MIB))
        made.append(Bench(engine, budget=budget, **collaborators))
        return made[-1]

    yield bench
    for each in made:
        each.close()


def large(seed: int, mib: float = 3) -> bytes:
    """A picture whose file has so many bytes more than it needs, which no decoder minds."""
    return jpeg(seed) + bytes(int(mib * MIB))


def budget_of(bench: Bench) -> MemoryBudget:
    return bench.pipeline._line.budget


def nothing_is_reserved(bench: Bench) -> bool:
    """Whether all is given back; the threads that do it may not be done when the future is."""
    for _ in range(int(LIMIT_S * 1000)):
        if not budget_of(bench).used_bytes:
            return True
        threading.Event().wait(0.001)
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(int(LIMIT_S * 1000)):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")


def test_pictures_of_many_times_the_memory_are_answered_and_small_ones_between_them(
    make: Callable[..., Bench],
) -> None:
    bench = make(total_mib=8)
    futures = [bench.submit(large(i) if i % 3 else jpeg(i)) for i in range(60)]
    assert [future.exception(LIMIT_S) for future in futures] == [None] * 60
    assert nothing_is_reserved(bench)
    assert budget_of(bench).waiting == 0


def test_a_picture_larger_than_all_memory_is_answered_too(make: Callable[..., Bench]) -> None:
    bench = make(total_mib=1)
    assert bench.submit(large(1, mib=20)).exception(LIMIT_S) is None


@pytest.mark.parametrize(
    "picture",
    [
        ImageUnavailableError("There is none.", "FETCH_404"),
        TemporaryError("It fails.", "FETCH_503"),
        ZeroDivisionError("a bug"),
        b"no picture",
        b"",
        jpeg(1)[:600],
    ],
    ids=repr,
)
def test_whatever_a_picture_fails_with_gives_its_memory_back(
    make: Callable[..., Bench], picture: bytes | BaseException
) -> None:
    bench = make(retry=RetryPolicy(attempts=2), draw=lambda: 0.0)
    assert bench.submit(picture).exception(LIMIT_S) is not None
    assert nothing_is_reserved(bench)
    assert bench.submit(large(1)).exception(LIMIT_S) is None


class SlowFetch:
    """One picture whose fetch reserves its memory and then takes as long as the test wants."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self._fetch = bench.fetcher.fetch
        monkeypatch.setattr(bench.fetcher, "fetch", self)
        bench.fetcher.pictures["https://slow/"] = large(0)
        self.future = bench.job("https://slow/")
        assert self.begun.wait(LIMIT_S)

    def __call__(self, uri: str, reserve: Reserve) -> bytes:
        data = self._fetch(uri, reserve)
        if uri == "https://slow/":
            self.begun.set()
            assert self.over.wait(LIMIT_S)
        return data


def test_a_picture_that_waits_for_memory_occupies_no_thread_and_is_fetched_once_more(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a fetch that takes up the memory for large ones
    bench = make(total_mib=8)
    slow = SlowFetch(bench, monkeypatch)
    # when more large ones come than there are threads
    others = [bench.submit(large(seed)) for seed in range(10)]
    wait_until(lambda: budget_of(bench).waiting == len(others))
    # then a small one passes them
    assert bench.submit(jpeg(1)).exception(LIMIT_S) is None
    # and all go on when the memory is free
    slow.over.set()
    assert [each.exception(LIMIT_S) for each in [slow.future, *others]] == [None] * 11
    assert max(map(bench.fetcher.fetched.count, bench.fetcher.fetched)) == 2


def test_a_task_that_expires_while_it_waits_for_memory_is_not_fetched(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make(total_mib=8)
    slow = SlowFetch(bench, monkeypatch)
    late = bench.submit(large(1), deadline=NOW + 5)
    wait_until(lambda: budget_of(bench).waiting == 1)
    bench.now_s = NOW + 10
    slow.over.set()
    assert isinstance(late.exception(LIMIT_S), ExpiredError)
    assert slow.future.exception(LIMIT_S) is None
    assert nothing_is_reserved(bench)


class SuspectsFirst:
    """A gate that holds all others back until it is opened, as where a suspect runs alone."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self._held: list[Go] = []
        self._is_open = False
        self._lock = threading.Lock()

    def enter(self, job: Job, go: Go, refuse: Refuse) -> None:
        with self._lock:
            is_let_in = self._is_open or job.ticket == "suspect"
            if not is_let_in:
                self._held.append(go)
        if is_let_in:
            go()
        else:
            self.came.release()

    def check(self, job: Job) -> None:
        pass

    def leave(self, job: Job) -> None:
        pass

    def let_all_in(self) -> None:
        with self._lock:
            self._is_open = True
        for go in self._held:
            go()


def test_a_picture_that_others_are_held_back_for_finds_room_however_much_these_take_up(
    make: Callable[..., Bench],
) -> None:
    # given pictures that are held back, and the first of them take up all memory
    gate = SuspectsFirst()
    bench = make(total_mib=8, gate=gate)
    others = [bench.submit(large(seed)) for seed in range(4)]
    for _ in others:  # fetched, or out of room
        assert gate.came.acquire(timeout=LIMIT_S)
    # when those come that they are held back for
    suspects = [bench.submit(large(seed), ticket="suspect") for seed in range(4)]
    # then these are answered
    assert [future.exception(LIMIT_S) for future in suspects] == [None] * 4
    assert not any(future.done() for future in others)
    # and the others once they are let in
    gate.let_all_in()
    assert [future.exception(LIMIT_S) for future in others] == [None] * 4
    assert nothing_is_reserved(bench)


def test_pictures_that_are_given_up_while_they_wait_leave_nothing_behind(
    make: Callable[..., Bench],
) -> None:
    gate = HoldingGate()
    bench = make(total_mib=8, gate=gate)
    futures = [bench.submit(large(seed), ticket=f"{seed}") for seed in range(6)]
    for _ in futures:
        assert gate.came.acquire(timeout=LIMIT_S)
    bench.pipeline.abandon()
    assert all(future.exception(LIMIT_S) for future in futures)
    assert nothing_is_reserved(bench)
    gate.open = True
    assert bench.submit(large(7)).exception(LIMIT_S) is None


def test_a_picture_that_waits_for_its_next_attempt_or_its_host_keeps_no_memory(
    make: Callable[..., Bench],
) -> None:
    timer = FakeTimer()
    bench = make(
        timer=timer,
        hosts=Hosts(timer, threads=4, rest=RestPolicy(failures=1, first_s=5)),
        retry=RetryPolicy(attempts=3, total_s=100),
        draw=lambda: 1.0,
    )
    bench.fetcher.pictures["https://host/0"] = TemporaryError("It fails.", "FETCH_503")
    waiting = bench.job("https://host/0")
    wait_until(lambda: bench.pipeline.resting == 1)
    assert nothing_is_reserved(bench)
    bench.fetcher.pictures["https://host/0"] = large(1)
    behind = bench.job("https://host/0")
    wait_until(lambda: bench.pipeline.resting == 2)
    assert nothing_is_reserved(bench)
    timer.advance(10.0)
    assert [each.exception(LIMIT_S) for each in (waiting, behind)] == [None, None]


def test_pixels_that_wait_for_the_model_count(make: Callable[..., Bench]) -> None:
    # given a model that is held
    bench = make(total_mib=8)
    bench.gate.clear()
    futures = [bench.submit(jpeg(seed)) for seed in range(9)]
    pixels = bench.engine.prepare(jpeg(1)).nbytes
    wait_until(lambda: budget_of(bench).used_bytes == 9 * pixels)
    # then they are given back with the answers
    bench.gate.set()
    assert [future.exception(LIMIT_S) for future in futures] == [None] * 9
    assert nothing_is_reserved(bench)


# --- when there is not enough all the same ---


class ShortOfMemory:
    """Fails so many times."""

    def __init__(self, times: int, then: Callable[..., Any]) -> None:
        self.left = times
        self._then = then

    def __call__(self, *arguments: Any) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise MemoryError
        return self._then(*arguments)


@pytest.mark.parametrize("place", ["fetch", "decode"])
def test_a_picture_for_which_memory_ran_out_is_tried_again(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    bench = make(draw=lambda: 0.0)
    owner, name = (bench.fetcher, "fetch") if place == "fetch" else (bench.engine, "prepare")
    monkeypatch.setattr(owner, name, ShortOfMemory(2, getattr(owner, name)))
    assert bench.submit(jpeg(1)).exception(LIMIT_S) is None
    assert nothing_is_reserved(bench)


@pytest.mark.parametrize("place", ["fetch", "decode"])
def test_one_for_which_it_always_runs_out_fails_alone_as_no_fault_of_its_own(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    bench = make(draw=lambda: 0.0, retry=RetryPolicy(attempts=3))
    owner, name = (bench.fetcher, "fetch") if place == "fetch" else (bench.engine, "prepare")
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, ShortOfMemory(100, getattr(owner, name)))
        error = bench.error(jpeg(1))
    assert (type(error), error.code) == (TemporaryError, "OUT_OF_MEMORY")
    assert "the worker ran out of memory. It was tried 3 times" in error.message
    # and the worker goes on
    assert bench.submit(jpeg(1)).exception(LIMIT_S) is None
    assert nothing_is_reserved(bench)


def test_a_picture_that_can_never_be_decoded_here_is_refused(make: Callable[..., Bench]) -> None:
    bench = make(budget=MemoryBudget(8 * MIB, most_bytes=1000))
    error = bench.error(jpeg(1))
    assert (type(error), error.code) == (ImageInvalidError, "TOO_MANY_PIXELS")
    assert nothing_is_reserved(bench)


def test_to_wait_for_memory_is_not_to_hang(
    make: Callable[..., Bench], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a large decode that takes its time, and one that waits for its memory
    begun, over = threading.Semaphore(0), threading.Event()

    def decode(_: bytes, reserve: Reserve) -> Any:
        reserve(100 * MIB)
        begun.release()
        assert over.wait(LIMIT_S)
        raise ImageError("It is broken.", "DECODE_BROKEN")

    bench = make()
    monkeypatch.setattr(engine, "prepare", decode)
    futures = [bench.submit(jpeg(seed)) for seed in range(2)]
    assert begun.acquire(timeout=LIMIT_S)
    wait_until(lambda: bool(budget_of(bench)._decoders))
    # then only the one that decodes may be found to hang
    wait_until(lambda: len(bench.pipeline._line.tally.decoding) == 1)
    over.set()
    assert [getattr(f.exception(LIMIT_S), "code", "") for f in futures] == ["DECODE_BROKEN"] * 2
    assert bench.pipeline.oldest_decode_s() == 0
    assert nothing_is_reserved(bench)
