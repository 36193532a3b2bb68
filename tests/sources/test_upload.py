"""Pictures that a client laid down in Redis."""

from __future__ import annotations

import hashlib

import fakeredis
import pytest
import redis

from worker.errors import ImageUnavailableError, InvalidRequestError, TemporaryError
from worker.sources import Fetcher, FetchLimits, UploadStore

ABSENT = "redis://uploads/" + 64 * "0"


@pytest.fixture
def server():
    return fakeredis.FakeRedis()


def test_an_upload_is_read_back_under_the_digest_of_its_bytes(server):
    store = UploadStore(server, ttl_s=60)

    uri = store.put(b"picture")

    assert uri == "redis://uploads/" + hashlib.sha256(b"picture").hexdigest()
    assert store.get(uri) == b"picture"
    assert Fetcher(upload_store=store).fetch(uri) == b"picture"


def test_an_upload_expires_and_putting_it_again_starts_its_time_anew(server):
    store = UploadStore(server, ttl_s=1.5)
    uri = store.put(b"picture")
    (key,) = server.keys("clip-worker:upload:*")
    assert 0 < server.pttl(key) <= 1500

    # when: half its time is gone, and it is put again
    server.pexpire(key, 700)
    store.put(b"picture")

    assert server.pttl(key) > 700
    server.delete(key)
    with pytest.raises(ImageUnavailableError) as caught:
        store.get(uri)
    assert caught.value.code == "UPLOAD_NOT_FOUND"


def test_stores_of_different_prefixes_are_apart(server):
    uri = UploadStore(server, ttl_s=60, prefix="one:").put(b"picture")

    with pytest.raises(ImageUnavailableError):
        UploadStore(server, ttl_s=60, prefix="two:").get(uri)


def test_an_upload_that_was_never_put_is_not_found(server):
    with pytest.raises(ImageUnavailableError, match="upload it again") as caught:
        Fetcher(upload_store=UploadStore(server, ttl_s=60)).fetch(ABSENT)

    assert caught.value.code == "UPLOAD_NOT_FOUND"


def test_an_empty_upload_is_refused(server):
    with pytest.raises(InvalidRequestError) as caught:
        UploadStore(server, ttl_s=60).put(b"")

    assert caught.value.code == "EMPTY_UPLOAD"


def test_the_cap_holds_for_uploads(server):
    store = UploadStore(server, ttl_s=60)
    fetcher = Fetcher(limits=FetchLimits(max_bytes=10), upload_store=store)

    assert fetcher.fetch(store.put(bytes(10))) == bytes(10)
    with pytest.raises(ImageUnavailableError) as caught:
        fetcher.fetch(store.put(bytes(11)))
    assert caught.value.code == "FETCH_TOO_LARGE"


@pytest.mark.parametrize(
    "uri",
    ["redis://uploads/*", "redis://127.0.0.1:6379/0", ABSENT.replace("0", "../0", 1), ABSENT + "0"],
)
def test_a_uri_of_another_form_never_reaches_redis(uri):
    # given: a store whose Redis would raise AttributeError if it were asked
    store = UploadStore(None, ttl_s=60)

    with pytest.raises(InvalidRequestError) as caught:
        Fetcher(upload_store=store).fetch(uri)
    assert caught.value.code == "BAD_URI"
    with pytest.raises(InvalidRequestError):
        store.get(uri)


def test_without_a_store_uploads_are_unsupported():
    with pytest.raises(InvalidRequestError) as caught:
        Fetcher().fetch(ABSENT)

    assert caught.value.code == "UNSUPPORTED_SCHEME"


@pytest.mark.parametrize(
    "lower", [redis.ConnectionError("gone"), redis.TimeoutError("slow"), redis.ResponseError("OOM")]
)
def test_what_redis_raises_is_translated_both_ways(lower):
    class BrokenRedis:
        def getrange(self, *_args: object):
            raise lower

        def set(self, *_args: object, **_options: object):
            raise lower

    store = UploadStore(BrokenRedis(), ttl_s=60)

    with pytest.raises(TemporaryError) as putting:
        store.put(b"picture")
    with pytest.raises(TemporaryError) as getting:
        store.get(ABSENT)

    assert putting.value.code == getting.value.code == "UPLOAD_STORE"
    assert putting.value.__cause__ is lower
    assert getting.value.__cause__ is lower
