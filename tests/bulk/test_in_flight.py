"""How often the results of a bulk run are read."""

from __future__ import annotations

import fakeredis
import pytest
from support.bulk_runs import AnsweringWorkers, item
from support.fake_clock import FakeClock

from clip_worker import Client
from clip_worker.bulk.in_flight import LONGEST_PAUSE_S, LOOK_S, READS, InFlight
from clip_worker.bulk.sender import SentItem
from clip_worker.client.image_request import ImageRequest

IN_FLIGHT = 5 * READS


@pytest.fixture
def clock(workers: AnsweringWorkers) -> FakeClock:
    """The workers answer while the run sleeps."""
    return FakeClock(1000.0, then=workers)


@pytest.fixture
def in_flight(client: Client, clock: FakeClock) -> InFlight:
    in_flight = InFlight(IN_FLIGHT, 1, None, sleep=clock.sleep, clock=clock)
    in_flight.add(sent(client, IN_FLIGHT))
    return in_flight


def sent(client: Client, count: int) -> list[SentItem]:
    """So many images, sent."""
    items = [item(number) for number in range(count)]
    requests = [ImageRequest(image=each.image, task_id=each.key) for each in items]
    handles = client.submit_many(requests, ["cat", "dog"])
    return [
        SentItem(each, handle, each.image, 0) for each, handle in zip(items, handles, strict=True)
    ]


@pytest.mark.parametrize(("answered", "pause_s"), [(1, 0.05), (5, 0.01)])
def test_between_two_reads_a_part_of_what_is_in_flight_can_end(
    in_flight: InFlight,
    workers: AnsweringWorkers,
    clock: FakeClock,
    answered: int,
    pause_s: float,
) -> None:
    # given so many answers in a hundredth of a second
    workers.at_once = answered
    clock.now_s += 0.01
    assert len(in_flight.wait()) == answered
    # when
    begin = clock()
    in_flight.wait()
    # then as many can end in the pause as are in flight divided by READS
    assert clock() - begin == pytest.approx(pause_s)


def test_a_pause_is_short_however_slow_the_workers_are(
    in_flight: InFlight, workers: AnsweringWorkers, clock: FakeClock
) -> None:
    # given an answer in a minute
    workers.at_once = 1
    clock.now_s += 60.0
    assert len(in_flight.wait()) == 1
    # when
    begin = clock()
    in_flight.wait()
    # then
    assert clock() - begin == pytest.approx(LONGEST_PAUSE_S)


def test_the_time_without_anything_in_flight_lengthens_no_pause(
    in_flight: InFlight,
    client: Client,
    redis: fakeredis.FakeRedis,
    workers: AnsweringWorkers,
    clock: FakeClock,
) -> None:
    # given a run that has waited a minute for further images
    in_flight.wait()
    assert len(in_flight) == 0
    redis.flushall()
    clock.now_s += 60.0
    in_flight.add(sent(client, 2))
    # when one ends in a hundredth of a second
    workers.at_once = 1
    clock.now_s += 0.01
    assert len(in_flight.wait()) == 1
    begin = clock()
    in_flight.wait()
    # then
    assert clock() - begin == pytest.approx(0.01 * 2 / READS)


def test_a_redis_that_keeps_losing_tasks_is_looked_at_less_often(
    in_flight: InFlight, client: Client, redis: fakeredis.FakeRedis, clock: FakeClock
) -> None:
    def look() -> bool:
        clock.now_s += LOOK_S
        lost = in_flight.take_lost()
        in_flight.add(sent(client, len(lost)))
        return bool(lost)

    # given a Redis that loses all tasks again and again
    looks = []
    for number in range(1, 101):
        redis.flushall()
        if look():
            looks.append(number)
    # then
    assert looks == [1, 3, 7, 15, 31, 63]
    # when it loses nothing for a while
    for _ in range(100):
        look()
    redis.flushall()
    # then it is looked at as often as before
    assert look()
    assert not look()
