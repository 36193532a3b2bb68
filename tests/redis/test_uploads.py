"""Images that a client has uploaded to Redis."""

from __future__ import annotations

import hashlib

import fakeredis
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.failure import code_of, failure_of

from clip_worker.contract.uri import find_upload, stored_uri, validate_uri
from clip_worker.errors import TemporaryError
from clip_worker.redis.uploads import SMALL_BYTES, UploadStore
from clip_worker.redis.url import connect
from worker.cli.demo.redis_server import find_free_port
from worker.sources import Fetcher

ABSENT = "redis://uploads/" + 64 * "0"


@pytest.fixture
def server():
    return fakeredis.FakeRedis()


@pytest.fixture
def store(server):
    return UploadStore(server, ttl_s=1.5)


def test_an_upload_is_read_by_the_digest_of_its_bytes(store):
    uri = store.put(b"picture")

    plain, _, claim = uri.partition("#")
    assert plain == "redis://uploads/" + hashlib.sha256(b"picture").hexdigest()
    assert len(claim) == 16
    assert store.get(uri) == store.get(plain) == b"picture"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cats/my cat.jpg", "cats/my%20cat.jpg"),
        ("/grün@x?#.jpg", "/gr%C3%BCn%40x%3F%23.jpg"),
        ("broken \udcff.jpg", "broken%20%3F.jpg"),
        ("..", ".."),
        (300 * "a" + ".jpg", 251 * "a" + ".jpg"),
        (300 * "\U0001f408", 255 * "%F0%9F%90%88"),
        ("", None),
    ],
)
@pytest.mark.parametrize("keep", [False, True])
def test_the_name_of_an_upload_is_for_readers_only(store, name, shown, keep):
    uri = store.put(b"picture", name=name, keep=keep)

    assert validate_uri(uri) == uri
    digest = hashlib.sha256(b"picture").hexdigest()
    plain, _, claim = uri.partition("#")
    assert plain == "redis://uploads/" + digest + (f"/{shown}" if shown else "")
    assert find_upload(uri) == (digest, claim)
    assert bool(claim) is not keep
    assert stored_uri(uri) == plain
    assert store.get(uri) == b"picture"

    store.discard(uri)
    if not keep:
        assert code_of(store.get, plain) == "UPLOAD_NOT_FOUND"


def test_an_upload_is_kept_for_each_claim_or_for_its_whole_lifetime(server, store):
    claims = {store.put(b"picture").partition("#")[2].encode() for _ in range(2)}
    [users] = server.keys("*:users")
    assert server.smembers(users) == claims
    assert 0 < server.pttl(users) <= 1500

    assert "#" not in store.put(b"picture", keep=True)

    assert server.smembers(users) == claims | {b"keep"}


def test_an_upload_expires_and_uploading_it_again_restarts_its_lifetime(server, store):
    uri = store.put(b"picture")
    key = min(server.keys("clip-worker:upload:*"), key=len)
    assert 0 < server.pttl(key) <= 1500

    # when: half of its lifetime is over, and it is uploaded again
    server.pexpire(key, 700)
    store.put(b"picture")

    assert server.pttl(key) > 700
    server.delete(key)
    assert code_of(store.get, uri) == "UPLOAD_NOT_FOUND"


def test_an_unknown_upload_is_not_found(store):
    failure = failure_of(store.get, ABSENT)

    assert failure.code == "UPLOAD_NOT_FOUND"
    assert "was deleted with its last task, has expired" in failure.message
    assert "upload it again, with keep=True" in failure.message


def test_an_empty_upload_is_rejected(store):
    assert code_of(store.put, b"") == "EMPTY_UPLOAD"


def test_the_size_limit_holds_for_uploads(store):
    assert store.get(store.put(bytes(10)), 10) == bytes(10)
    assert code_of(store.get, store.put(bytes(11)), 10) == "FETCH_TOO_LARGE"


@pytest.mark.parametrize(
    "uri",
    ["redis://uploads/*", "redis://127.0.0.1:6379/0", ABSENT.replace("0", "../0", 1), ABSENT + "0"],
)
def test_a_uri_of_another_form_never_reaches_redis(uri):
    # given: a store whose Redis would raise AttributeError if it were used
    store = UploadStore(None)

    assert code_of(store.get, uri) == "BAD_URI"


def test_small_uploads_are_read_together_and_each_fails_alone(store):
    small, exact = store.put(b"picture"), store.put(bytes(SMALL_BYTES))
    large = store.put(bytes(SMALL_BYTES + 1))

    read = store.get_small(["redis://uploads/x", small, ABSENT, large, exact])

    assert [getattr(one, "code", one) for one in read] == [
        "BAD_URI",
        b"picture",
        "UPLOAD_NOT_FOUND",
        None,
        bytes(SMALL_BYTES),
    ]


def test_if_redis_is_away_all_small_uploads_fail():
    with redis.Redis(port=find_free_port(), retry=Retry(NoBackoff(), 0)) as away:
        read = UploadStore(away).get_small(["cat.jpg", ABSENT, ABSENT])

    assert [one.code for one in read] == ["BAD_URI", "UPLOAD_STORE", "UPLOAD_STORE"]


def test_uploads_are_not_fetched_like_other_images():
    assert code_of(Fetcher().fetch, ABSENT) == "UNSUPPORTED_SCHEME"


@pytest.mark.parametrize(
    "lower", [redis.ConnectionError("gone"), redis.TimeoutError("slow"), redis.ResponseError("OOM")]
)
def test_errors_of_redis_are_translated(lower):
    class BrokenRedis(fakeredis.FakeRedis):
        def getrange(self, *_args: object):
            raise lower

        def pipeline(self, **_options: object):
            raise lower

    store = UploadStore(BrokenRedis())

    for call, argument in ((store.put, b"picture"), (store.get, ABSENT)):
        failure = failure_of(call, argument)
        assert (type(failure), failure.code) == (TemporaryError, "UPLOAD_STORE")
        assert failure.__cause__ is lower


@pytest.mark.integration
def test_an_upload_that_redis_has_no_memory_for_is_an_error_with_the_reason(redis_url):
    with connect(redis_url) as server:
        server.config_set("maxmemory", 1)
        try:
            failure = failure_of(UploadStore(server).put, b"picture")
        finally:
            server.config_set("maxmemory", 0)
        assert server.keys() == []
    assert failure.code == "UPLOAD_STORE"
    assert isinstance(failure.__cause__, redis.exceptions.OutOfMemoryError)


def test_a_discarded_upload_is_deleted_unless_somebody_else_uses_it(redis_url):
    with connect(redis_url) as server:
        store = UploadStore(server)
        first, second = store.put(b"picture"), store.put(b"picture")
        store.discard(first)
        store.discard(first)
        assert store.get(second) == b"picture"
        store.discard(second)
        assert server.keys() == []
        kept = store.put(b"picture", keep=True)
        store.discard(kept)
        assert store.get(kept) == b"picture"
        assert code_of(store.discard, "https://example.org/cat.jpg") == "BAD_URI"
