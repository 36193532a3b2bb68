"""What arrives in a bucket, found by listing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.arriving import Arrived
from support.failure import failure_of
from support.moto_server import BUCKET, Moto, moto_server
from support.waiting import wait_until

from clip_worker.feeds.bucket_arrivals import BucketArrivals

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def moto() -> Iterator[Moto]:
    with moto_server() as moto:
        yield moto


@pytest.fixture
def arrived(moto: Moto) -> Iterator[Arrived]:
    arrivals = BucketArrivals(BUCKET, "in/", poll_s=0.05)
    yield Arrived(arrivals)
    arrivals.close()


def test_objects_are_found_with_their_keys_as_they_are(moto, arrived):
    keys = ["in/a.jpg", "in/my cat+1%20.jpg", "in/below/3fa85f64", "in/größe.png"]
    for key in [*keys, "in/a.txt", "in/", "elsewhere/b.jpg"]:
        moto.put(key, key.encode())

    arrived.wait_for(4)

    assert sorted(arrived.images) == sorted(f"s3://{BUCKET}/{key}" for key in keys)
    assert all(item.path is None for item in arrived.items)


def test_each_content_of_an_object_is_yielded_once(moto, arrived):
    moto.put("in/a.jpg", b"1")
    arrived.wait_for(1)
    moto.put("in/a.jpg", b"2")
    arrived.wait_for(2)
    moto.put("in/a.jpg", b"1")  # its row is there
    moto.put("in/b.jpg", b"3")

    (last,) = arrived.wait_for(3)

    assert last.image == f"s3://{BUCKET}/in/b.jpg"
    assert len(set(arrived.images)) == 2


def test_a_listing_of_many_pages_yields_all_and_what_was_seen_is_not_yielded(moto, monkeypatch):
    monkeypatch.setattr("clip_worker.feeds.bucket_arrivals.PAGE", 10)
    for number in range(35):
        moto.put(f"{number:04}.jpg", b"1")
    first = BucketArrivals(BUCKET, "", poll_s=0.05)
    arrived = Arrived(first)
    items = arrived.wait_for(35)
    first.close()

    second = BucketArrivals(BUCKET, "", poll_s=0.05)
    seen = {item.key for item in items[1:]}
    second.open(lambda keys: seen & set(keys))
    found = []
    wait_until(lambda: found.extend(second.poll(0.1, 10)) or found)
    assert [item.key for item in found] == [items[0].key]
    second.close()


def test_a_bucket_that_is_not_there_is_named(moto):
    failure = failure_of(BucketArrivals("nowhere", "").open, frozenset)

    assert failure.code == "FEED_FAILED"
    assert "The bucket 'nowhere' can't be used: NoSuchBucket" in failure.message


def test_a_service_that_does_not_answer_is_a_temporary_error(moto, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    failure = failure_of(BucketArrivals("pets", "").open, frozenset)

    assert failure.code == "FEED_UNAVAILABLE"


@pytest.mark.parametrize("name", ["", "a/b", "a?b", "a b", "-a", "pets@evil.example"])
def test_what_is_not_the_name_of_a_bucket_is_refused(name):
    assert failure_of(BucketArrivals, name, "").code == "BAD_PLACE"
