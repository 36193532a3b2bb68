"""How many messages are held follows the measured rate."""

from __future__ import annotations

import pytest

from worker.delivery.delivery import Crash, Delivery
from worker.delivery.prefetch import PERIOD_S, Prefetch, split


class Bench:
    """A worker of a given speed, on a clock that is set by hand."""

    def __init__(self, **bounds: int) -> None:
        self.now = 100.0
        given = {"floor": 8, "ceiling": 1000, "initial": 64, "batch": 32} | bounds
        self.prefetch = Prefetch(**given, ahead_s=2.0, clock=lambda: self.now)

    def run(
        self, rate: float, seconds: float, *, saturated: bool = True, fetch_s: float = 0
    ) -> int:
        window = self.prefetch.window(0, fetch_s)
        for _ in range(round(seconds / PERIOD_S)):
            window = self.prefetch.window(window if saturated else 1, fetch_s)
            self.prefetch.finished(round(rate * PERIOD_S))
            self.now += PERIOD_S
        return self.prefetch.window(window if saturated else 1, fetch_s)


@pytest.mark.parametrize("ceiling", [20, 64, 1000])
def test_before_anything_is_known_the_first_window_holds_within_its_bounds(ceiling: int) -> None:
    assert Bench(ceiling=ceiling).prefetch.window(0, 0.0) == min(64, ceiling)


@pytest.mark.parametrize(
    ("rate", "fetch_s", "window"),
    [
        (4, 0.0, 8),  # a slow worker leaves the queue to others
        (100, 0.0, 200),  # a quick one holds two seconds of work
        (10_000, 0.0, 1000),  # none holds more than the ceiling
        (100, 3.0, 500),  # what takes long to fetch is fetched earlier
    ],
)
def test_a_worker_holds_what_it_will_need_soon(rate: float, fetch_s: float, window: int) -> None:
    assert Bench().run(rate=rate, seconds=10, fetch_s=fetch_s) == window


def test_messages_are_taken_when_there_is_room_for_a_batch_or_for_a_part_of_the_window() -> None:
    bench = Bench()
    assert bench.prefetch.step == 4  # of 64

    assert bench.run(rate=1000, seconds=10) == 1000
    assert bench.prefetch.step == 32

    assert Bench(initial=1, floor=1).prefetch.step == 1


def test_an_idle_time_does_not_make_a_quick_worker_timid() -> None:
    bench = Bench()
    bench.run(rate=100, seconds=10)

    assert bench.run(rate=0, seconds=60, saturated=False) == 200


def test_a_worker_that_becomes_slow_holds_less() -> None:
    bench = Bench()
    bench.run(rate=100, seconds=10)

    assert bench.run(rate=8, seconds=10) <= 20


def _taken(*sizes: int, crashed: bool = False, eta: bool = False) -> list[Delivery]:
    crashes = (Crash(1.0, 1, "w"),) if crashed else ()
    return [
        Delivery(None, "", crashes, b"", size=size, waits_for_eta=eta)  # type: ignore[arg-type]  # not looked at
        for size in sizes
    ]


@pytest.mark.parametrize(
    ("room", "sizes", "kept"),
    [
        (10, [1] * 10, 10),
        (10, [4, 4, 4, 4], 3),  # the last may be larger than what is left
        (10, [512, 1, 1], 1),  # it would never be taken otherwise
        (0, [1, 1], 0),
    ],
)
def test_what_is_beyond_the_room_goes_back_in_its_order(
    room: int, sizes: list[int], kept: int
) -> None:
    taken = _taken(*sizes)

    assert split(taken, room, 0) == (taken[:kept], taken[kept:])


def test_suspects_have_room_of_their_own_and_what_waits_for_its_time_needs_none() -> None:
    suspects, others, waiting = _taken(40, 40, 1, crashed=True), _taken(9, 9), _taken(99, eta=True)

    kept, rest = split([*suspects, *others, *waiting], 5, 64)

    assert kept == [*suspects[:2], others[0], *waiting]
    assert rest == [suspects[2], others[1]]
