"""Who may take memory now, and who waits for how long."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from clip_engine.errors import ImageError
from worker.pipeline.memory_budget import MemoryBudget
from worker.sources.reservation import FIRST_BYTES, Holder, NoRoomError, Reservation

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024
LIMIT_S = 20.0


class Waiter:
    """Keeps what it is admitted with."""

    def __init__(self, then: Callable[[Reservation], None] = lambda _: None) -> None:
        self.reservation: Reservation | None = None
        self._then = then

    def admit(self, reservation: Reservation) -> None:
        assert self.reservation is None, "told twice"
        self.reservation = reservation
        self._then(reservation)

    @property
    def admitted(self) -> bool:
        return self.reservation is not None


def waiting(budget: MemoryBudget, *sizes_mib: float) -> list[Waiter]:
    waiters = [Waiter() for _ in sizes_mib]
    for size_mib, waiter in zip(sizes_mib, waiters, strict=True):
        budget.wait(int(size_mib * MIB), waiter)
    return waiters


def taken(budget: MemoryBudget, size_mib: float) -> Reservation:
    reservation = budget.reserve(int(size_mib * MIB))
    assert reservation is not None, f"no room for {size_mib} MiB"
    return reservation


# --- files ---


def test_files_take_up_half_of_the_budget_and_the_next_waits_until_one_is_done() -> None:
    budget = MemoryBudget(200 * MIB)
    held = [taken(budget, 30), taken(budget, 30)]
    assert budget.reserve(30 * MIB) is None
    [third] = waiting(budget, 30)
    assert (third.admitted, budget.waiting) == (False, 1)
    held[0].release()
    assert (third.admitted, budget.waiting) == (True, 0)
    assert budget.used_bytes == 60 * MIB


def test_who_waits_is_admitted_in_the_order_of_coming_and_nobody_passes_ahead() -> None:
    budget = MemoryBudget(200 * MIB)
    held = taken(budget, 60)
    first, second = waiting(budget, 50, 10)
    # there would be room for ten
    assert budget.reserve(10 * MIB) is None
    assert not second.admitted
    held.release()
    assert (first.admitted, second.admitted) == (True, True)


def test_what_a_fetch_did_not_need_is_there_for_others() -> None:
    budget = MemoryBudget(8 * MIB)
    [first, second, third, fourth] = [taken(budget, 1) for _ in range(4)]
    [waiter] = waiting(budget, 1)
    for reservation in (first, second, third, fourth):
        reservation.settle(200_000)
    assert waiter.admitted
    assert budget.used_bytes == 4 * 200_000 + MIB


def test_a_fetch_that_finds_its_picture_large_grows_if_there_is_room() -> None:
    budget = MemoryBudget(200 * MIB)
    one, other = taken(budget, 1), taken(budget, 1)
    one.grow(50 * MIB)
    one.grow(20 * MIB)  # which it has
    assert one.size_bytes == 50 * MIB
    with pytest.raises(NoRoomError) as caught:
        other.grow(30 * MIB)
    assert caught.value.size_bytes == 30 * MIB
    assert (other.size_bytes, budget.used_bytes) == (MIB, 51 * MIB)


def test_a_fetch_does_not_grow_past_larger_ones_that_wait() -> None:
    budget = MemoryBudget(200 * MIB)
    large, small = taken(budget, 60), taken(budget, 1)
    waiting(budget, 60)
    with pytest.raises(NoRoomError):
        small.grow(5 * MIB)
    large.release()


def test_a_picture_larger_than_all_that_there_is_goes_on_alone() -> None:
    budget = MemoryBudget(16 * MIB)
    first = taken(budget, 64)
    [second] = waiting(budget, 64)
    assert not second.admitted
    first.release()
    assert second.admitted


def test_a_budget_of_next_to_nothing_still_lets_one_of_each_kind_go_on() -> None:
    budget = MemoryBudget(1)
    small, large = taken(budget, 1), taken(budget, 64)
    assert budget.reserve(MIB) is None
    assert budget.reserve(2 * MIB) is None
    [next_small, next_large] = waiting(budget, 1, 2)
    small.release()
    large.release()
    assert (next_small.admitted, next_large.admitted) == (True, True)


def test_small_pictures_do_not_wait_for_large_ones() -> None:
    # given large ones that take all that they may, and more that wait
    budget = MemoryBudget(64 * MIB)
    taken(budget, 24)
    [large] = waiting(budget, 24)
    # then small ones have a share of their own
    small = [taken(budget, 1) for _ in range(8)]
    assert budget.reserve(MIB) is None
    # and each that ends lets the next one go on
    [next_small] = waiting(budget, 1)
    small[0].release()
    assert (next_small.admitted, large.admitted) == (True, False)


def test_large_pictures_do_not_wait_until_no_small_ones_come() -> None:
    # given small ones that take up everything
    budget = MemoryBudget(64 * MIB)
    small = [taken(budget, 1) for _ in range(32)]
    [large] = waiting(budget, 20)
    # when each that ends is followed by another that asks at once
    for ended in range(len(small)):
        small[ended].release()
        if (following := budget.reserve(MIB)) is not None:
            small.append(following)
        if large.admitted:
            break
    # then the large one has not been passed by more than fit beside it
    assert large.admitted
    assert len(small) <= 32 + 8


def test_where_all_are_held_back_the_first_who_waits_goes_on() -> None:
    # given a budget that is taken up by pictures that wait for others
    budget = MemoryBudget(64 * MIB)
    held = [taken(budget, 1) for _ in range(32)]
    first, second = waiting(budget, 20, 1)
    for reservation in held:
        reservation.hold_back(back=True)
    # then one goes on, and the next once it is done
    assert (first.admitted, second.admitted) == (True, False)
    assert first.reservation is not None
    first.reservation.release()
    assert second.admitted


def test_a_picture_held_back_and_let_go_counts_as_moving_again() -> None:
    budget = MemoryBudget(4 * MIB)
    reservation = taken(budget, 2)
    reservation.hold_back(back=True)
    reservation.hold_back(back=True)
    reservation.hold_back(back=False)
    [waiter] = waiting(budget, 2)
    assert not waiter.admitted
    reservation.settle(0)
    reservation.release()
    reservation.release()
    reservation.hold_back(back=True)
    assert waiter.admitted
    assert budget.used_bytes == 2 * MIB


def test_thousands_who_gave_up_while_they_waited_hold_up_nobody() -> None:
    # given waiters that give back at once what they get
    budget = MemoryBudget(4 * MIB)
    held = taken(budget, 2)
    for _ in range(10_000):
        budget.wait(2 * MIB, Waiter(Reservation.release))
    [last] = waiting(budget, 2)
    held.release()
    assert last.admitted


def test_one_who_fails_when_told_fails_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Reservation) -> None:
        raise ZeroDivisionError

    budget = MemoryBudget(4 * MIB)
    held = taken(budget, 2)
    budget.wait(2 * MIB, Waiter(fail))
    [next_one] = waiting(budget, 2)
    held.release()
    assert next_one.admitted
    assert "ZeroDivisionError" in caplog.text


def test_a_holder_gives_each_reservation_up_once() -> None:
    budget, holder = MemoryBudget(4 * MIB), Holder()
    holder.put(taken(budget, 2))
    reservation = holder.take()
    assert reservation is not None
    assert holder.take() is None
    holder.release()
    assert budget.used_bytes == 2 * MIB
    holder.put(reservation)
    holder.release()
    assert budget.used_bytes == 0


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_everybody_goes_on_and_the_bound_holds(seed: int) -> None:
    rng = random.Random(seed)
    total, largest = rng.choice((1, 16, 64, 200)) * MIB, 64 * MIB
    budget = MemoryBudget(total)
    left = 300  # pictures to come
    moving: list[Reservation] = []
    held_back: list[Reservation] = []
    waiters: list[Waiter] = []
    while left or moving or held_back or budget.waiting:
        if left and rng.random() < 0.5:
            left -= 1
            size = rng.choice((MIB, MIB, MIB, rng.randint(MIB, largest)))
            reservation = budget.reserve(size)
            if reservation is None:
                waiters.append(Waiter(moving.append))
                budget.wait(size, waiters[-1])
            else:
                moving.append(reservation)
        elif moving and rng.random() < 0.4:
            reservation = moving.pop(rng.randrange(len(moving)))
            reservation.settle(rng.randint(0, reservation.size_bytes))
            held_back.append(reservation)
            reservation.hold_back(back=True)
        elif moving:
            moving.pop(rng.randrange(len(moving))).release()
        # who is held back is let go only while nobody waits for room
        elif held_back and not budget.waiting:
            reservation = held_back.pop()
            reservation.hold_back(back=False)
            moving.append(reservation)
        else:
            assert left, "nobody moves although somebody waits"
        large = [each.size_bytes for each in moving + held_back if each.size_bytes > FIRST_BYTES]
        if len(large) > 1 and not held_back:
            assert sum(large) <= max(total // 2, largest)
    assert all(waiter.admitted for waiter in waiters)
    assert budget.used_bytes == 0


# --- decodes ---


def test_a_decode_waits_until_there_is_room_and_alone_never() -> None:
    budget = MemoryBudget(100 * MIB)
    begun, over, done = threading.Event(), threading.Event(), threading.Event()

    def decode_first() -> None:
        with budget.decoding(0) as reserve:
            reserve(200 * MIB)  # more than there is
            begun.set()
            assert over.wait(LIMIT_S)

    def decode_second() -> None:
        with budget.decoding(0) as reserve:
            reserve(MIB)
            done.set()

    threads = [threading.Thread(target=each) for each in (decode_first, decode_second)]
    threads[0].start()
    assert begun.wait(LIMIT_S)
    threads[1].start()
    while not budget._decoders:
        assert not done.is_set()
    over.set()
    assert done.wait(LIMIT_S)
    for thread in threads:
        thread.join()
    assert budget.used_bytes == 0


def test_decodes_go_on_in_the_order_of_their_coming_so_that_a_large_one_gets_its_turn() -> None:
    budget = MemoryBudget(100 * MIB)
    order: list[int] = []
    holding = budget.decoding(0)
    holding.__enter__()(60 * MIB)

    def decode(size_mib: int) -> None:
        with budget.decoding(0) as reserve:
            reserve(size_mib * MIB)
            order.append(size_mib)

    threads = []
    for size_mib in (90, 1, 2):
        threads.append(threading.Thread(target=decode, args=(size_mib,)))
        threads[-1].start()
        while len(budget._decoders) < len(threads):
            pass
    assert order == []
    holding.__exit__(None, None, None)
    for thread in threads:
        thread.join(LIMIT_S)
    assert order[0] == 90


def test_several_decodes_go_on_together_where_there_is_room() -> None:
    budget = MemoryBudget(100 * MIB)
    with budget.decoding(0) as first, budget.decoding(0) as second:
        first(40 * MIB)
        second(50 * MIB)
        assert budget.used_bytes == 90 * MIB
    assert budget.used_bytes == 0


def test_what_a_decode_takes_comes_back_when_it_fails() -> None:
    budget = MemoryBudget(100 * MIB)

    def decode() -> None:
        with budget.decoding(0) as reserve:
            reserve(90 * MIB)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        decode()
    assert budget.used_bytes == 0


def test_a_decode_that_can_never_fit_is_refused_with_both_figures() -> None:
    budget = MemoryBudget(100 * MIB, most_bytes=500_000_000)
    with (
        pytest.raises(ImageError, match=r"takes about 700 MB.* may have 500 MB") as caught,
        budget.decoding(0) as reserve,
    ):
        reserve(700_000_000)
    assert caught.value.code == "TOO_MANY_PIXELS"
    assert budget.used_bytes == 0


@pytest.mark.parametrize(("file_mib", "decode_mib", "times"), [(0, 1, 0), (20, 1, 1), (0, 20, 1)])
def test_after_a_large_picture_freed_memory_is_returned(
    file_mib: int, decode_mib: int, times: int
) -> None:
    returned: list[None] = []
    budget = MemoryBudget(100 * MIB, return_freed=lambda: returned.append(None))
    with budget.decoding(file_mib * MIB) as reserve:
        reserve(decode_mib * MIB)
    assert len(returned) == times
