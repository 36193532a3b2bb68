"""Who may be in the making together."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.delivery.envelope import Envelope
from worker.delivery.in_flight import Delivery
from worker.delivery.lease import Lease
from worker.delivery.quarantine import GROUP, Quarantine, is_condemned
from worker.delivery.unacked_entry import TOGETHER_UNKNOWN, Crash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIMIT_S = 10.0


class Books:
    """A queue that notes who was begun, and may fail or have lost some."""

    def __init__(self) -> None:
        self.begun: list[tuple[tuple[str, ...], int]] = []
        self.failures = 0
        self.lost: set[str] = set()

    def start(self, _: object, tags: Sequence[str], crash: Crash) -> list[bool]:
        if self.failures:
            self.failures -= 1
            raise RedisConnectionError("away")
        self.begun.append((tuple(tags), crash.together))
        return [tag not in self.lost for tag in tags]


class Room:
    """An isolation with its books, and events instead of work."""

    def __init__(self, most: int = 4) -> None:
        self.books = Books()
        books: Any = self.books
        self.lease = Lease(books, 1e9)
        self.quarantine = Quarantine(most=most, worker="w", pause=lambda _: None, now=lambda: 7.0)
        self.went: list[str] = []
        self.lost: list[str] = []
        self._changed = threading.Condition()

    def delivery(self, name: str, crashes: int = 0) -> Delivery:
        history = tuple(Crash(1.0, 1, "w") for _ in range(crashes))
        return Delivery(self.lease, Envelope(name, "t", {}, {}), b"", history, [name])

    def enter(self, delivery: Delivery) -> None:
        self.quarantine.enter(
            delivery,
            lambda: self._note(self.went, delivery.id),
            lambda: self._note(self.lost, delivery.id),
        )

    def wait_for(self, went: int, lost: int = 0) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.went) >= went and len(self.lost) >= lost, LIMIT_S
            ), (self.went, self.lost)

    def _note(self, where: list[str], name: str) -> None:
        with self._changed:
            where.append(name)
            self._changed.notify_all()


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.quarantine.stop()


def test_a_crowd_goes_in_up_to_the_limit_and_the_rest_when_some_have_left(room: Room) -> None:
    crowd = [room.delivery(f"d{i}") for i in range(6)]
    for delivery in crowd:
        room.enter(delivery)
    assert room.went == ["d0"]  # it found nobody there, and waits for no thread
    room.quarantine.start()
    room.wait_for(went=4)

    room.quarantine.leave(crowd[:2])

    room.wait_for(went=6)
    assert room.books.begun == [
        (("d0",), TOGETHER_UNKNOWN),
        (("d1", "d2", "d3"), TOGETHER_UNKNOWN),
        (("d4", "d5"), TOGETHER_UNKNOWN),
    ]


def test_one_alone_is_noted_and_begun_by_its_own_thread_and_then_the_next(room: Room) -> None:
    first, second = room.delivery("d0"), room.delivery("d1")
    room.enter(first)
    room.quarantine.leave([first])
    room.enter(second)

    assert room.went == ["d0", "d1"]
    assert room.books.begun == [(("d0",), TOGETHER_UNKNOWN), (("d1",), TOGETHER_UNKNOWN)]
    assert first.begun


def test_one_alone_that_is_lost_or_has_ended_is_not_begun(room: Room) -> None:
    room.books.lost = {"gone"}
    room.enter(room.delivery("gone"))
    assert room.lost == ["gone"]
    room.quarantine.leave(list(room.quarantine._making))
    ended = room.delivery("ended")
    ended.ended = True

    room.enter(ended)

    assert (room.went, room.lost) == ([], ["gone", "ended"])
    assert room.books.begun == [(("gone",), TOGETHER_UNKNOWN)]


def test_a_suspect_alone_waits_for_its_turn_and_nobody_enters_once_it_stops(room: Room) -> None:
    room.enter(room.delivery("suspect", crashes=1))
    assert room.went == []
    room.quarantine.stop()
    other = Room()
    other.quarantine.stop()
    other.enter(other.delivery("late"))
    assert other.went == []


def test_suspects_of_one_crash_run_in_a_group_and_with_nothing_else(room: Room) -> None:
    plain = room.delivery("plain")
    room.quarantine.start()
    room.enter(plain)
    room.wait_for(went=1)
    suspects = [room.delivery(f"s{i}", crashes=1) for i in range(GROUP + 1)]
    for suspect in suspects:
        room.enter(suspect)
    late = room.delivery("late")
    room.enter(late)
    assert room.went == ["plain"]

    room.quarantine.leave([plain])
    room.wait_for(went=1 + GROUP)
    assert room.books.begun[1] == (tuple(f"s{i}" for i in range(GROUP)), GROUP)

    # after as many suspects as make a crowd, the crowd has its turn before the next ones
    room.quarantine.leave(suspects[:GROUP])
    room.wait_for(went=2 + GROUP)
    assert room.went[-1] == "late"
    room.quarantine.leave([late])
    room.wait_for(went=3 + GROUP)
    assert room.books.begun[-1] == ((f"s{GROUP}",), 1)


def test_a_suspect_of_two_crashes_runs_alone(room: Room) -> None:
    suspects = [room.delivery(f"s{i}", crashes=2) for i in range(2)]
    for suspect in suspects:
        room.enter(suspect)
    room.quarantine.start()
    room.wait_for(went=1)

    room.quarantine.leave(suspects[:1])

    room.wait_for(went=2)
    assert room.books.begun == [(("s0",), 1), (("s1",), 1)]


def test_all_pictures_of_a_message_go_in_with_it(room: Room) -> None:
    many, other = room.delivery("many", crashes=2), room.delivery("other")
    room.enter(many)
    room.enter(many)
    room.enter(other)
    room.quarantine.start()
    room.wait_for(went=2)

    room.enter(many)

    assert room.went == ["many", "many", "many"]
    assert room.books.begun == [(("many",), 1)]


def test_a_message_that_has_become_anothers_is_not_begun(room: Room) -> None:
    room.books.lost = {"gone"}
    room.enter(room.delivery("gone"))
    room.enter(room.delivery("here"))

    room.quarantine.start()

    room.wait_for(went=1, lost=1)
    assert (room.went, room.lost) == (["here"], ["gone"])


def test_a_message_that_has_ended_takes_no_place(room: Room) -> None:
    ended = [room.delivery(f"e{i}") for i in range(4)]
    for delivery in ended:
        delivery.ended = True
        room.enter(delivery)
    room.quarantine.start()
    room.wait_for(went=0, lost=4)

    for i in range(4):
        room.enter(room.delivery(f"d{i}"))

    room.wait_for(went=4)


def test_while_redis_is_away_nothing_is_begun_and_then_it_is(room: Room) -> None:
    room.books.failures = 3
    room.enter(room.delivery("d"))

    room.quarantine.start()

    room.wait_for(went=1)
    assert room.books.failures == 0


@pytest.mark.parametrize(
    ("crashes", "condemned"),
    [
        ([], False),
        ([1], False),
        ([1, 1, 1], True),
        ([8, 1, 1, 1], False),  # in the last one it was not alone
        ([1, 1, 8, 0], True),
        ([1, 8], False),
    ],
)
def test_only_what_was_alone_in_its_last_crash_is_condemned(
    crashes: list[int], *, condemned: bool
) -> None:
    history = [Crash(1.0, together, "w") for together in crashes]

    assert is_condemned(history, max_deliveries=3) is condemned


def test_one_that_cannot_be_begun_keeps_nobody_else_out(room: Room) -> None:
    def fail() -> None:
        raise ValueError("a bug")

    room.enter(room.delivery("first"))
    room.quarantine.enter(room.delivery("bad"), fail, fail)
    room.enter(room.delivery("good"))

    room.quarantine.start()

    room.wait_for(went=2)
