"""`AsyncClient` on a real Redis: what it sends, what it rejects, and what it leaves behind."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from pathlib import Path

import pytest
from support.coroutines import STORED, run, serve, until
from support.sent_messages import IMAGE, LABELS, read_message

from clip_worker import AsyncClient, Client
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.errors import ClipWorkerError, QueueFullError, QueueUnavailableError
from clip_worker.redis.async_commands import LARGE_BYTES
from clip_worker.redis.url import connect
from worker.cli.demo.redis_server import find_free_port

pytestmark = pytest.mark.integration

METHODS = (
    *("classify", "submit_many", "classify_many", "handle", "upload", "discard", "ping"),
    *("put_label_set", "get_label_set"),
)
MANY = 5000  # labels, which are validated in a thread


@pytest.fixture
def redis(redis_url):
    with connect(redis_url) as redis:
        yield redis


def sent(redis) -> list[dict]:
    """The arguments of the tasks in the queue, in order; they are taken from it."""
    messages = iter(lambda: redis.rpop(DEFAULT_QUEUE), None)
    return [read_message(message)[1] for message in messages]


# --- like Client ---


@pytest.mark.parametrize("name", METHODS)
def test_its_methods_have_the_parameters_of_the_client(name):
    ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (AsyncClient, Client))
    assert ours.parameters == theirs.parameters


def test_what_is_sent_is_what_the_client_sends(redis_url, redis):
    own = {"image": "data:,x", "labels": ["tree"], "k": 1, "task_id": "own"}
    options = {"k": 2, "threshold": 0.5, "priority": 0, "expires_s": 60.0, "result_ttl_s": 9.0}
    options |= {"score": "cosine", "none_of_these": True}
    many = [IMAGE] * 40
    labels = [f"label {number}" for number in range(MANY)]
    with Client(redis_url) as client:
        client.classify(IMAGE, LABELS, **options)
        client.classify(IMAGE, labels)
        client.submit_many([IMAGE, own, *many], LABELS, **options)
        outcomes = client.classify_many(many, LABELS, chunk=16, timeout=0)
        with pytest.raises(ClipWorkerError):
            next(outcomes)
        version = client.put_label_set("pets", labels)
    expected = sent(redis)
    redis.flushall()

    async def main():
        async with AsyncClient(redis_url) as client:
            await client.classify(IMAGE, LABELS, **options)
            await client.classify(IMAGE, labels)
            await client.submit_many([IMAGE, own, *many], LABELS, **options)
            with pytest.raises(ClipWorkerError):
                await anext(client.classify_many(many, LABELS, chunk=16, timeout=0))
            assert await client.put_label_set("pets", labels) == version

    run(main())
    assert sent(redis) == expected
    assert len(expected) == 2 + 42 + 3


CALLS = {
    "uri": lambda client: client.classify("cat.jpg", LABELS),
    "labels": lambda client: client.classify(IMAGE),
    "many labels": lambda client: client.classify(IMAGE, ["cat"] * MANY),
    "k": lambda client: client.classify(IMAGE, LABELS, k=0),
    "task_id": lambda client: client.classify(IMAGE, LABELS, task_id=""),
    "priority": lambda client: client.classify(IMAGE, LABELS, priority=10),
    "request": lambda client: client.submit_many([IMAGE, {"image": IMAGE, "kk": 3}], LABELS),
    "requests": lambda client: client.submit_many(IMAGE, LABELS),
    "images": lambda client: client.classify_many(IMAGE, LABELS),
    "chunk": lambda client: client.classify_many([IMAGE], LABELS, chunk=513),
    "options": lambda client: client.classify_many([IMAGE], []),
    "score": lambda client: client.classify(IMAGE, LABELS, score="dot"),
    "threshold": lambda client: client.submit_many([IMAGE], LABELS, score="cosine", threshold=2.0),
    "set": lambda client: client.put_label_set("pets", []),
    "paths": lambda client: client.put_label_set("pets", ["a", "a > "], hierarchical=True),
    "unknown set": lambda client: client.get_label_set("cars"),
    "unnamed set": lambda client: client.get_label_set(""),
    "name": lambda client: client.put_label_set("", LABELS),
    "upload": lambda client: client.upload("cat.jpg"),
    "empty upload": lambda client: client.upload(b""),
    "large upload": lambda client: client.upload(b"x" * 2_000_000),
    "ttl": lambda client: client.upload(b"x", ttl_s=0),
    "discard": lambda client: client.discard(IMAGE),
    "discarded path": lambda client: client.discard(Path("cat.jpg")),
}


async def result_of(call):
    """What a method of `AsyncClient` returns, or the first thing that it yields."""
    return await (anext(call) if inspect.isasyncgen(call) else call)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_the_client_rejects_is_rejected_with_the_same_error(redis_url, redis, call):
    with (
        Client(redis_url, max_upload_bytes=1_000_000) as client,
        pytest.raises(ClipWorkerError) as expected,
    ):
        call(client)

    async def main():
        async with AsyncClient(redis_url, max_upload_bytes=1_000_000) as client:
            with pytest.raises(type(expected.value)) as caught:
                await result_of(call(client))
            assert caught.value.args == expected.value.args

    run(main())
    assert redis.keys() == []


UNREACHABLE = {
    "ping": lambda client: client.ping(),
    "upload": lambda client: client.upload(b"picture"),
    "discard": lambda client: client.discard(f"redis://uploads/{64 * '0'}#claim"),
    "labels": lambda client: client.put_label_set("animals", LABELS),
    "set": lambda client: client.get_label_set("animals"),
    "classify": lambda client: client.classify(IMAGE, LABELS),
    "classify_many": lambda client: client.classify_many([IMAGE], LABELS),
    "submit_many": lambda client: client.submit_many([IMAGE], LABELS),
    "state": lambda client: client.handle("some-id").state(),
    "get": lambda client: client.handle("some-id").get(timeout=0),
    "forget": lambda client: client.handle("some-id").forget(),
}


@pytest.mark.parametrize("call", UNREACHABLE.values(), ids=UNREACHABLE)
def test_an_unreachable_redis_is_named(call, monkeypatch):
    monkeypatch.setattr("redis.asyncio.retry.sleep", lambda _: asyncio.sleep(0))
    port = find_free_port()

    async def main():
        async with AsyncClient(f"redis://127.0.0.1:{port}/0") as client:
            with pytest.raises(QueueUnavailableError, match=f"127.0.0.1:{port}"):
                await result_of(call(client))

    run(main())


# --- the queue's limit ---


def test_a_full_queue_is_reported_with_the_ids_that_were_sent(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url, max_queue_length=3) as client:
            with pytest.raises(QueueFullError, match="4 more don't fit") as caught:
                await client.submit_many([IMAGE] * 4, LABELS)
            assert caught.value.sent == ()
            await client.submit_many([IMAGE] * 3, LABELS)
        limits = {"max_queue_length": 5, "when_full": "wait", "wait_limit_s": 0.1}
        async with AsyncClient(redis_url, **limits) as client:
            with pytest.raises(QueueFullError, match="workers took none") as caught:
                await client.submit_many([IMAGE] * 4, LABELS)
            assert len(caught.value.sent) == 2

    run(main())
    assert redis.llen(DEFAULT_QUEUE) == 5


def test_other_coroutines_run_while_one_waits_for_room(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url, max_queue_length=1, when_full="wait") as client:
            sending = asyncio.create_task(client.submit_many([IMAGE] * 30, LABELS))
            await serve(redis, lambda _: None, 29)
            assert len(await sending) == 30

    run(main())


# --- connections ---


def test_any_number_of_calls_share_few_connections(redis_url, redis):
    async def main():
        async with AsyncClient(f"{redis_url}?client_name=few", max_connections=3) as client:
            handles = await asyncio.gather(*(client.classify(IMAGE, LABELS) for _ in range(200)))
            waits = asyncio.gather(*(handle.get() for handle in handles))
            await until(lambda: len(redis.pubsub_channels()) == 200)
            names = [each["name"] for each in redis.client_list()]
            assert names.count("few") <= 3
            await serve(redis, lambda _: STORED, 200)
            await waits

    run(main())


def test_a_pool_that_stays_in_use_is_reported_as_such(redis_url):
    async def main():
        async with AsyncClient(redis_url, max_connections=2) as client:
            [pool] = client._parts._pools
            pool.wait_s = 0.01
            held = await pool.acquire()
            with pytest.raises(QueueUnavailableError, match="connections stayed in use") as caught:
                await client.ping()
            assert "max_connections" in caught.value.message
            await pool.release(held)
            await client.ping()

    run(main())


def test_a_discarded_upload_is_deleted(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url) as client:
            uri = await client.upload(b"picture")
            assert len(redis.keys()) == 2
            await client.discard(uri)

    run(main())
    assert redis.keys() == []


def test_a_large_upload_arrives_whole_and_a_cancelled_one_does_no_harm(redis_url, redis, tmp_path):
    data = bytes(range(256)) * (4 * LARGE_BYTES // 256) + b"end"
    path = tmp_path / "image"
    path.write_bytes(data)

    async def main():
        async with AsyncClient(redis_url) as client:
            cancelled = asyncio.create_task(client.upload(data[:-1]))
            for _ in itertools.repeat(None, 3):
                await asyncio.sleep(0)
            cancelled.cancel()
            uris = [await client.upload(data), await client.upload(path, keep=True)]
            await client.discard(await client.upload(data))
        return uris

    uris = run(main())
    digest = uris[1].removeprefix("redis://uploads/")
    assert uris[0].startswith(uris[1] + "#")
    assert redis.get(f"clip-worker:upload:{digest}") == data
    assert redis.scard(f"clip-worker:upload:{digest}:users") == 2


# --- event loops ---


def test_one_client_serves_several_event_loops_one_after_the_other(redis_url):
    client = AsyncClient(redis_url, max_connections=2)

    async def main():
        async with client:
            await asyncio.gather(*(client.ping() for _ in range(20)))
            with pytest.raises(ClipWorkerError):
                await client.handle("some-id").get(timeout=0)

    run(main())
    run(main())


def test_a_client_that_is_open_in_another_event_loop_says_so(redis_url):
    async def ping():
        await client.ping()

    client = AsyncClient(redis_url)
    with asyncio.Runner() as first:
        first.run(ping())
        for call in (ping(), client.classify(IMAGE, LABELS), client.handle("some-id").get()):
            with pytest.raises(RuntimeError, match="in another event loop"):
                run(call)
        first.run(client.aclose())
    run(ping_and_close(client))


async def ping_and_close(client):
    await client.ping()
    await client.aclose()


def test_closing_ends_what_waits(redis_url):
    async def main():
        client = AsyncClient(redis_url)
        waiting = asyncio.create_task(client.handle("some-id").get())
        await until(lambda: client._results._active)
        await client.aclose()
        with pytest.raises(QueueUnavailableError, match="client was closed"):
            await waiting

    run(main())
