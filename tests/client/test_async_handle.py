"""Coroutines that wait for results in a real Redis: together, cancelled, and through outages."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from support.answers import ANSWER
from support.coroutines import STORED, put_result, run, serve, until
from support.sent_messages import IMAGE, LABELS

from clip_worker import AsyncClient, Client, async_as_completed
from clip_worker.errors import (
    ImageInvalidError,
    QueueUnavailableError,
    ResultTimeoutError,
    ServiceError,
)
from clip_worker.redis.url import connect

pytestmark = pytest.mark.integration


@pytest.fixture
def redis(redis_url):
    with connect(redis_url) as redis:
        yield redis


def channels(redis) -> int:
    return len(redis.pubsub_channels())


async def cancel(task) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


# --- one ---


def test_what_is_published_is_received(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url) as client:
            handle = await client.classify(IMAGE, LABELS)
            waiting = asyncio.ensure_future(handle.get())
            await until(lambda: channels(redis) == 1)
            redis.publish(f"celery-task-meta-{handle.id}", "no result")
            assert await handle.state() == "PENDING"
            put_result(redis, handle.id, store=False)
            assert await waiting == await handle == ANSWER
            assert await handle.state() == "SUCCESS"

    run(main())


def test_a_result_that_was_not_published_is_found_by_polling(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url) as client:
            waiting = asyncio.ensure_future(client.handle("some-id").get())
            await until(lambda: channels(redis) == 1)
            put_result(redis, "some-id", publish=False)
            assert await waiting == ANSWER

    run(main())


def test_without_permission_to_subscribe_results_are_polled(redis_url, redis):
    redis.execute_command("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "&*", "+@all", "-subscribe")
    url = redis_url.replace("redis://", "redis://deaf:pw@")

    async def main():
        async with AsyncClient(url) as client:
            waiting = asyncio.ensure_future(client.handle("some-id").get())
            await until(lambda: client._results._active)
            put_result(redis, "some-id")
            assert await waiting == ANSWER

    run(main())
    redis.execute_command("ACL", "DELUSER", "deaf")


def test_a_failure_is_raised_each_time_and_a_result_of_something_else_too(redis_url, redis):
    put_result(redis, "failed", ImageInvalidError("No image."))
    put_result(redis, "other", {"is": "something else"})

    async def main():
        async with AsyncClient(redis_url) as client:
            failed = client.handle("failed")
            for _ in range(2):
                with pytest.raises(ImageInvalidError, match="No image"):
                    await failed
            with pytest.raises(ServiceError, match="can't read"):
                await client.handle("other")

    run(main())


def test_the_errors_of_a_timeout_are_those_of_the_client(redis_url, redis):
    old = time.time() - 90_000
    with Client(redis_url) as client:
        expected = [client.handle("some-id"), client.classify(IMAGE, LABELS)]
        expected[0].sent_at, expected[1].id = old, "some-id"
        messages = []
        for handle in expected:
            with pytest.raises(ResultTimeoutError) as caught:
                handle.get(0)
            messages.append(caught.value.message)

    async def main():
        async with AsyncClient(redis_url, result_ttl_s=86_400) as client:
            handles = [client.handle("some-id"), await client.classify(IMAGE, LABELS)]
            handles[0].sent_at, handles[1].id = old, "some-id"
            for handle, message in zip(handles, messages, strict=True):
                with pytest.raises(ResultTimeoutError) as caught:
                    await handle.get(timeout=0)
                assert caught.value.message == message
            with pytest.raises(ResultTimeoutError, match=r"no result after 0\.01 s"):
                await client.handle("another").get(timeout=0.01)

    run(main())


def test_a_forgotten_result_is_gone_and_its_task_may_be_sent_again(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url) as client:
            handle = await client.classify(IMAGE, LABELS, task_id="own")
            await asyncio.gather(serve(redis, lambda _: STORED, 1), handle)
            await client.classify(IMAGE, LABELS, task_id="own")
            assert redis.llen("clip") == 0
            await handle.forget()
            assert await client.handle("own").state() == "PENDING"
            await client.classify(IMAGE, LABELS, task_id="own")
            assert redis.llen("clip") == 1

    run(main())


# --- many ---


def test_all_waits_share_one_subscription_which_ends_with_them(redis_url, redis):
    ids = [str(number) for number in range(1200)]

    async def main():
        async with AsyncClient(redis_url) as client:
            waits = [asyncio.ensure_future(client.handle(one).get()) for one in ids for _ in "ab"]
            await until(lambda: channels(redis) == len(ids))
            assert len(redis.client_list(_type="pubsub")) == 1
            for one in ids:
                put_result(redis, one)
            assert await asyncio.gather(*waits) == [ANSWER] * 2 * len(ids)
            await until(lambda: channels(redis) == 0)
            assert not client._results._waits

    run(main())


def test_a_cancelled_wait_leaves_nothing_and_takes_nothing_from_others(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url, max_connections=2) as client:
            handle = client.handle("shared")
            first, second = (asyncio.ensure_future(handle.get()) for _ in "ab")
            alone = asyncio.ensure_future(client.handle("alone").get())
            await until(lambda: channels(redis) == 2)
            # when
            await cancel(first)
            await cancel(alone)
            # then
            await until(lambda: channels(redis) == 1)
            put_result(redis, "shared")
            assert await second == ANSWER
            await until(lambda: channels(redis) == 0)
            assert not client._results._waits
            assert not client._results._active
            await client.ping()

    run(main())


def test_cancellation_at_any_moment_leaves_the_client_usable(redis_url, redis):
    async def call(client):
        handle = await client.classify(IMAGE, LABELS)
        return await handle

    async def main():
        async with AsyncClient(redis_url, max_connections=2) as client:
            for steps in range(60):
                calls = [asyncio.ensure_future(call(client)) for _ in range(3)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                for each in calls:
                    await cancel(each)
            redis.delete("clip")
            waiting = asyncio.gather(*(call(client) for _ in range(20)))
            await serve(redis, lambda _: STORED, 20)
            assert await waiting == [ANSWER] * 20
            await until(lambda: channels(redis) == 0)
            assert not client._results._waits

    run(main())


def test_handles_are_yielded_as_their_tasks_end(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url) as client:
            handles = [client.handle(str(number)) for number in range(3)]
            put_result(redis, "2")
            assert await handles[2] == ANSWER
            done = async_as_completed([*handles, client.handle("0")])
            assert await anext(done) is handles[2]
            for each in ("1", "0"):
                put_result(redis, each)
                assert (await anext(done)).id == each
            assert [one async for one in done] == []
            assert [one async for one in async_as_completed([])] == []

    run(main())


def test_all_of_many_handles_are_yielded_and_the_rest_time_out(redis_url, redis):
    async def main():
        async with AsyncClient(redis_url) as client:
            handles = [client.handle(str(number)) for number in range(1700)]
            for handle in handles[1:]:
                put_result(redis, handle.id, publish=False)
            done = async_as_completed(handles, timeout=0.3)
            assert {(await anext(done)).id for _ in handles[1:]} == {one.id for one in handles[1:]}
            with pytest.raises(ResultTimeoutError, match="Task 0 has no result after"):
                await anext(done)
            none = async_as_completed([client.handle("x"), client.handle("y")], timeout=0)
            with pytest.raises(ResultTimeoutError, match="None of 2 tasks has a result"):
                await anext(none)

    run(main())


# --- outages ---


def test_a_fault_in_the_background_ends_the_waits_and_later_ones_start_anew(redis_url, redis):
    async def fault(_pacer):
        raise ZeroDivisionError

    async def main():
        async with AsyncClient(redis_url) as client:
            client._results._read_some = fault
            with pytest.raises(QueueUnavailableError, match="has failed"):
                await client.handle("some-id")
            del client._results._read_some
            waiting = asyncio.ensure_future(client.handle("some-id").get())
            await until(lambda: channels(redis) == 1)
            put_result(redis, "some-id")
            assert await waiting == ANSWER

    run(main())


def test_waiting_and_sending_go_on_after_a_restart_of_redis(server):
    async def main():
        async with AsyncClient(server.url) as client:
            await asyncio.gather(*(client.ping() for _ in range(20)))  # so that all are connected
            waiting = asyncio.ensure_future(client.handle("some-id").get())
            redis = server.client()
            await until(lambda: channels(redis) == 1)
            server.restart()
            await client.classify(IMAGE, LABELS)
            redis = server.client()
            await until(lambda: channels(redis) == 1)
            put_result(redis, "some-id")
            assert await waiting == ANSWER

    run(main())


def test_an_outage_is_the_reason_at_the_timeout_and_when_it_lasts(server, monkeypatch):
    async def main():
        async with AsyncClient(server.url) as client:
            lasting = asyncio.ensure_future(client.handle("some-id").get())
            await until(lambda: channels(server.client()) == 1)
            server.stop()
            with pytest.raises(QueueUnavailableError, match=str(server.port)):
                await client.handle("some-id").get(timeout=0.2)
            assert not lasting.done()
            monkeypatch.setattr("clip_worker.client.async_results.PATIENCE_S", 0.1)
            with pytest.raises(QueueUnavailableError, match=str(server.port)):
                await lasting

    run(main())
