"""Notifications are received, and deleted when the images that they tell of are done."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import redis
from support.arriving import Arrived
from support.failure import failure_of
from support.fake_clock import FakeClock
from support.moto_server import BUCKET, QUEUE, Moto, moto_server
from support.waiting import wait_until

from clip_worker.errors import TemporaryError
from clip_worker.feeds.notifications.arrivals import KEEP_S, NotificationArrivals
from clip_worker.feeds.notifications.receipts import Receipts
from clip_worker.feeds.notifications.redis_list import RedisListSource
from clip_worker.feeds.notifications.source import Message
from clip_worker.feeds.notifications.sqs import SqsSource
from clip_worker.feeds.notifications.webhook import Endpoint, WebhookSource

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST = "bucketevents"
TAKEN, REJECTED = f"{LIST}:clip-worker-taken", f"{LIST}:clip-worker-rejected"


def event(*keys: str, name: str = "s3:ObjectCreated:Put") -> dict[str, Any]:
    """An event of MinIO's."""
    records = [
        {"eventName": name, "s3": {"bucket": {"name": BUCKET}, "object": {"key": k, "eTag": "1"}}}
        for k in keys
    ]
    return {"EventName": name, "Records": records}


def uri(key: str) -> str:
    return f"s3://{BUCKET}/{key}"


@pytest.fixture
def moto() -> Iterator[Moto]:
    with moto_server() as moto:
        yield moto


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as broker:
        yield broker


def from_list(redis_url: str) -> Arrived:
    return Arrived(NotificationArrivals(RedisListSource(redis_url, LIST)))


def push(broker: redis.Redis, *keys: str, name: str = "s3:ObjectCreated:Put") -> None:
    broker.rpush(LIST, json.dumps([{"Event": event(*keys, name=name)["Records"]}]))


# --- receipts ---


def test_a_message_is_released_when_its_last_image_is_done():
    receipts = Receipts()
    receipts.add("1", ["a", "b"])
    receipts.add("2", ["b"])

    assert receipts.release(["a", "unknown"]) == []
    assert len(receipts) == 2
    assert sorted(receipts.release(["b"])) == ["1", "2"]
    assert not receipts.release(["a", "b"])
    assert len(receipts) == 0


class FakeSource:
    """Has one message; remembers what it was told to keep."""

    def __init__(self) -> None:
        self.waiting = [Message("1", json.dumps(event("a.jpg")))]
        self.kept: list[str] = []

    def open(self) -> None: ...

    def receive(self) -> list[Message]:
        taken, self.waiting = self.waiting, []
        return taken

    def keep(self, receipts) -> None:
        self.kept += receipts

    def delete(self, receipts) -> None:
        raise TemporaryError("The queue can't be reached.")

    def close(self, receipts) -> None: ...


def test_messages_in_flight_are_kept_from_being_delivered_again():
    source, clock = FakeSource(), FakeClock()
    arrived = Arrived(NotificationArrivals(source, clock))
    arrived.wait_for(1)
    assert source.kept == []

    clock.sleep(KEEP_S)

    wait_until(lambda: source.kept == ["1"])
    arrived.arrivals.close()


def test_a_source_that_could_not_be_opened_is_closed_and_says_why(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    sources = [
        SqsSource(QUEUE),
        WebhookSource(Endpoint("127.0.0.1", 0, "/"), tmp_path / "nowhere" / "inbox", None),
        RedisListSource("redis://localhost:1", LIST),
    ]

    for source in sources:
        arrivals = NotificationArrivals(source)
        failure = failure_of(arrivals.open, frozenset)
        arrivals.close()
        assert "can't be used" in failure.message


def test_a_message_of_many_images_holds_up_the_next_one_until_they_are_done(monkeypatch):
    monkeypatch.setattr("clip_worker.feeds.notifications.arrivals.MOST_IMAGES", 2)
    source, clock = FakeSource(), FakeClock()
    source.waiting.insert(0, Message("0", json.dumps(event("b.jpg", "c.jpg", "d.jpg"))))
    arrived = Arrived(NotificationArrivals(source, clock))
    arrived.wait_for(3)
    clock.sleep(KEEP_S)
    wait_until(lambda: source.kept == ["0", "1"])  # the second is kept, but was not read
    assert uri("a.jpg") not in arrived.images

    arrived.arrivals.acknowledge(arrived.keys)
    assert uri("a.jpg") in [item.image for item in arrived.wait_for(4)]
    arrived.arrivals.close()


def test_a_message_that_could_not_be_deleted_is_deleted_later(monkeypatch, caplog):
    source = FakeSource()
    arrived = Arrived(NotificationArrivals(source))
    arrived.wait_for(1)
    with caplog.at_level(logging.WARNING):
        arrived.arrivals.acknowledge(arrived.keys)
    assert "The queue can't be reached." in caplog.text
    deleted = []
    monkeypatch.setattr(source, "delete", deleted.extend)

    arrived.arrivals.acknowledge([])

    assert deleted == ["1"]
    arrived.arrivals.close()


# --- a list in Redis ---


@pytest.mark.integration
def test_a_message_of_a_list_is_kept_until_its_images_are_done(redis_url, broker):
    push(broker, "a.jpg", "b.jpg")
    push(broker, "c.jpg", name="s3:ObjectRemoved:Delete")
    arrived = from_list(redis_url)

    items = arrived.wait_for(2)

    assert arrived.images == [uri("a.jpg"), uri("b.jpg")]
    wait_until(lambda: arrived.poll() == [] and broker.llen(TAKEN) == 1)
    arrived.arrivals.acknowledge([items[0].key])
    assert broker.llen(TAKEN) == 1
    arrived.arrivals.acknowledge([items[1].key])
    assert broker.llen(TAKEN) == broker.llen(LIST) == 0
    arrived.arrivals.close()


@pytest.mark.integration
def test_what_a_killed_process_has_taken_is_yielded_again_in_order(redis_url, broker):
    push(broker, "a.jpg")
    push(broker, "b.jpg")
    first = from_list(redis_url)
    first.wait_for(2)
    first.arrivals.close()  # nothing was acknowledged
    push(broker, "c.jpg")

    second = from_list(redis_url)
    second.wait_for(3)

    assert second.images == [uri("a.jpg"), uri("b.jpg"), uri("c.jpg")]
    second.arrivals.acknowledge(second.keys)
    assert broker.llen(TAKEN) == 0
    second.arrivals.close()


@pytest.mark.integration
def test_the_same_message_twice_is_deleted_twice(redis_url, broker):
    for _ in range(3):
        push(broker, "a.jpg")
    arrived = from_list(redis_url)
    arrived.wait_for(1)
    wait_until(lambda: arrived.poll() == [] and broker.llen(LIST) == 0)
    wait_until(lambda: arrived.poll() == [] and len(arrived.arrivals._receipts) == 3)

    arrived.arrivals.acknowledge(arrived.keys)

    assert broker.llen(TAKEN) == 0
    arrived.arrivals.close()


@pytest.mark.integration
def test_what_cannot_be_read_is_put_aside_and_named(redis_url, broker, caplog):
    broker.rpush(LIST, b"\xffno JSON", json.dumps({"hello": 1}))
    push(broker, "a.jpg")
    with caplog.at_level(logging.WARNING):
        arrived = from_list(redis_url)
        arrived.wait_for(1)

    assert redis.Redis.from_url(redis_url).lindex(REJECTED, 0) == b"\xffno JSON"
    assert broker.llen(REJECTED) == 2
    assert broker.llen(TAKEN) == 1
    assert caplog.text.count("is of no known form") == 2
    arrived.arrivals.close()


@pytest.mark.integration
def test_a_lost_connection_loses_nothing(redis_url, broker):
    arrived = from_list(redis_url)
    for round_ in range(5):
        for number in range(20):
            push(broker, f"{round_}-{number}.jpg")
        broker.client_kill_filter(_type="normal", skipme=True)
    arrived.wait_for(100)

    wait_until(lambda: _acknowledged(arrived) and broker.llen(TAKEN) == 0)
    assert len(set(arrived.images)) == 100
    arrived.arrivals.close()


def _acknowledged(arrived: Arrived) -> bool:
    arrived.arrivals.acknowledge(arrived.keys)
    return True


# --- SQS ---


def test_a_message_of_sqs_is_deleted_when_its_image_is_done(moto):
    moto.notify_queue()  # which sends a test event
    arrived = Arrived(NotificationArrivals(SqsSource(QUEUE)))
    moto.put("my cat+1.jpg", b"1")
    (item,) = arrived.wait_for(1)
    assert item.image == uri("my cat+1.jpg")
    wait_until(lambda: arrived.poll() == [] and moto.messages() == 1)

    arrived.arrivals.acknowledge([item.key])

    assert moto.messages() == 0
    arrived.arrivals.close()


def test_what_was_not_done_is_delivered_again_at_once(moto):
    for number in range(25):
        moto.send(event(f"{number}.jpg"))
    first = Arrived(NotificationArrivals(SqsSource(QUEUE)))
    first.wait_for(25)
    first.arrivals.acknowledge(first.keys[:12])
    assert moto.messages() == 13
    first.arrivals.close()

    second = Arrived(NotificationArrivals(SqsSource(QUEUE)))
    second.wait_for(13)
    second.arrivals.acknowledge(second.keys)

    assert moto.messages() == 0
    assert not set(first.keys[:12]) & set(second.keys)
    second.arrivals.close()


def test_a_message_that_cannot_be_read_stays_in_the_queue(moto, caplog):
    moto.send({"hello": 1})
    moto.send(event("a.jpg"))
    with caplog.at_level(logging.WARNING):
        arrived = Arrived(NotificationArrivals(SqsSource(QUEUE)))
        arrived.wait_for(1)
        wait_until(lambda: arrived.poll() == [] and "no known form" in caplog.text)

    arrived.arrivals.acknowledge(arrived.keys)
    assert moto.messages() == 1
    arrived.arrivals.close()


def test_a_queue_that_is_not_there_is_named(moto):
    failure = failure_of(NotificationArrivals(SqsSource("nowhere")).open, frozenset)

    assert failure.code == "FEED_FAILED"
    assert "The queue 'nowhere' can't be used" in failure.message
