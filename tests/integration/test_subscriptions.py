"""Waiting for one answer by a subscription, on a real Redis; and without, where none can be had."""

from __future__ import annotations

import multiprocessing
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from support.answers import ANSWER
from support.waiting import wait_until

from clip_worker import Client
from clip_worker.client.subscription import MOST_IDLE, SubscriptionPool
from clip_worker.contract import Classification
from clip_worker.errors import ImageUnavailableError, ResultTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clip_worker.client.handle import Handle

pytestmark = [
    pytest.mark.integration,
    # Celery's backend, which these tests store results with
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
]

LIMIT_S = 60.0
LATER_S = 1.0


def ask(client: Client) -> Handle[Classification]:
    return client.classify("data:,x", ["a"])


def store(client: Client, task_id: str):
    client._app.backend.store_result(task_id, ANSWER.model_dump(mode="json"), "SUCCESS")


def later(call: Callable[..., Any], *arguments: Any) -> threading.Timer:
    timer = threading.Timer(LATER_S, call, arguments)
    timer.start()
    return timer


def once_waited_for(server, call: Callable[..., Any], *arguments: Any) -> threading.Thread:
    """Call when somebody has subscribed."""

    def wait_and_call():
        with server.client() as redis:
            wait_for_subscribers(redis, 1)
        call(*arguments)

    thread = threading.Thread(target=wait_and_call)
    thread.start()
    return thread


def calls(redis: Redis, command: str) -> int:
    return int(redis.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def wait_for_subscribers(redis: Redis, count: int):
    wait_until(lambda: len(redis.pubsub_channels()) == count)


def subscribers(redis: Redis) -> int:
    return len(redis.client_list(_type="pubsub"))


def test_who_waits_is_told_and_need_not_ask(server):
    with Client(server.url) as client, Client(server.url) as worker:
        handle = ask(client)
        stored = later(store, worker, handle.id)
        assert handle.get(LIMIT_S) == ANSWER
        # Asking alone would take some 50 looks.
        assert calls(server.client(), "mget") < 15
        stored.join()


def test_what_is_there_already_needs_no_subscription(server):
    with Client(server.url) as client:
        handle = ask(client)
        store(client, handle.id)
        assert handle.get(LIMIT_S) == ANSWER
        assert calls(server.client(), "subscribe") == 0


def test_a_subscription_serves_one_wait_after_the_other(server):
    with Client(server.url) as client, Client(server.url) as worker:
        for _ in range(3):
            handle = ask(client)
            stored = threading.Timer(0.2, store, (worker, handle.id))
            stored.start()
            assert handle.get(LIMIT_S) == ANSWER
            stored.join()
        redis = server.client()
        assert calls(redis, "subscribe") == 3
        assert subscribers(redis) == 1
        assert len(redis.pubsub_channels()) == 1
    wait_until(lambda: subscribers(redis) == 0)


def wait_at_once(client: Client, worker: Client, redis: Redis, count: int) -> int:
    """How many of so many threads that wait at the same time get their answer."""
    handles = [ask(client) for _ in range(count)]
    got: list[Classification] = []
    threads = [
        threading.Thread(target=lambda h=handle: got.append(h.get(LIMIT_S)))  # type: ignore[misc]
        for handle in handles
    ]
    for thread in threads:
        thread.start()
    wait_for_subscribers(redis, count)
    for handle in handles:
        store(worker, handle.id)
    for thread in threads:
        thread.join(LIMIT_S)
    return got.count(ANSWER)


def test_many_wait_at_once_and_few_connections_stay(server):
    waiting = 3 * MOST_IDLE
    redis = server.client()
    with Client(server.url) as client, Client(server.url) as worker:
        for _ in range(3):  # from the second time on there are some that were kept
            assert wait_at_once(client, worker, redis, waiting) == waiting
            wait_until(lambda: 1 <= subscribers(redis) <= MOST_IDLE)


def test_a_subscription_that_is_cut_off_costs_no_answer(server):
    with Client(server.url) as client, Client(server.url) as worker:
        handle = ask(client)

        def cut_off_and_answer():
            assert server.client().client_kill_filter(_type="pubsub") == 1
            store(worker, handle.id)

        cut = once_waited_for(server, cut_off_and_answer)

        assert handle.get(LIMIT_S) == ANSWER
        cut.join()


def test_where_nobody_may_subscribe_the_answer_comes_all_the_same(server):
    server.client().acl_setuser(
        "deaf", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all", "-@pubsub"]
    )
    url = server.url.replace("redis://", "redis://deaf:secret@")
    with Client(url) as client, Client(server.url) as worker:
        handle = ask(client)
        stored = later(store, worker, handle.id)

        assert handle.get(LIMIT_S) == ANSWER

        assert server.client().info("commandstats")["cmdstat_subscribe"]["rejected_calls"] == 1
        stored.join()


def test_what_is_published_is_not_read_again(server):
    with Client(server.url) as client, Client(server.url) as worker:
        handle, other = ask(client), ask(client)
        store(worker, other.id)
        meta = server.client().get(f"celery-task-meta-{other.id}")
        assert isinstance(meta, bytes)
        # when it is published, and stored nowhere
        published = once_waited_for(
            server,
            server.client().publish,
            f"celery-task-meta-{handle.id}",
            meta.replace(*map(str.encode, (other.id, handle.id))),
        )

        assert handle.get(LIMIT_S) == ANSWER

        assert handle.state == "SUCCESS"
        published.join()


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        b"{}",
        b"[]",
        b"nonsense",
        b'{"status": 5}',
        b'{"status": "FAILURE"}',
        b'{"status": "SUCCESS", "result": ',
        b'{"status": "STARTED", "result": {"pid": 1}}',
    ],
)
def test_what_is_published_and_is_no_end_is_not_believed(server, noise: bytes):
    with Client(server.url) as client, Client(server.url) as worker:
        handle = ask(client)

        def publish_and_answer():
            assert server.client().publish(f"celery-task-meta-{handle.id}", noise) == 1
            time.sleep(0.1)
            store(worker, handle.id)

        answered = once_waited_for(server, publish_and_answer)

        assert handle.get(LIMIT_S) == ANSWER
        answered.join()


def test_a_failure_that_is_published_is_raised(server):
    with Client(server.url) as client, Client(server.url) as worker:
        handle = ask(client)
        failed = once_waited_for(
            server,
            worker._app.backend.store_result,
            handle.id,
            ImageUnavailableError("No picture.", "X"),
            "FAILURE",
        )

        with pytest.raises(ImageUnavailableError, match=r"^No picture\.$"):
            handle.get(LIMIT_S)

        failed.join()


def test_what_nobody_published_is_found_by_looking(server):
    with Client(server.url) as client:
        handle, other = ask(client), ask(client)
        store(client, other.id)
        meta = server.client().get(f"celery-task-meta-{other.id}")
        assert isinstance(meta, bytes)
        key = f"celery-task-meta-{handle.id}"
        stored = later(
            server.client().set, key, meta.replace(*map(str.encode, (other.id, handle.id)))
        )
        looks = calls(server.client(), "mget")

        assert handle.get(LIMIT_S) == ANSWER

        # before waiting, once subscribed, and at least once more
        assert calls(server.client(), "mget") - looks > 2
        stored.join()


def test_a_wait_ends_when_its_time_is_over(server):
    with Client(server.url) as client:
        for limit_s in (0.0, 0.02, 0.3):
            with pytest.raises(ResultTimeoutError):
                ask(client).get(limit_s)


def _wait_in_child(client: Client, handle: Handle[Classification], done: Any):
    done.put(handle.get(LIMIT_S) == ANSWER)


def _fork_and_wait(url: str, answered: Any):
    """In a process that has no other threads: one of them might hold a lock when it forks."""
    with Client(url) as client, Client(url) as worker:
        # given a connection that the parent keeps
        first = ask(client)
        stored = later(store, worker, first.id)
        answered.put(first.get(LIMIT_S) == ANSWER)
        stored.join()
        # when parent and child wait at the same time
        mine, its = ask(client), ask(client)
        child = multiprocessing.get_context("fork").Process(
            target=_wait_in_child, args=(client, its, answered)
        )
        child.start()
        later(store, worker, mine.id)
        later(store, worker, its.id)
        answered.put(mine.get(LIMIT_S) == ANSWER)
        child.join()


def test_a_forked_process_waits_on_connections_of_its_own(server):
    context = multiprocessing.get_context("spawn")
    answered = context.SimpleQueue()
    process = context.Process(target=_fork_and_wait, args=(server.url, answered))
    process.start()
    process.join(3 * LIMIT_S)
    assert process.exitcode == 0
    # then all three waits had their answers
    assert [answered.get(), answered.get(), answered.get()] == [True, True, True]
    answered.close()
    process.close()


def test_a_wait_that_is_interrupted_keeps_no_half_read_subscription(server, monkeypatch):
    def interrupted(*_: object, **__: object):
        raise KeyboardInterrupt

    with Client(server.url) as client:
        handle, acquire, acquired = ask(client), SubscriptionPool.acquire, []

        def acquire_and_break(pool: SubscriptionPool, channel: str, wait_s: float) -> Any:
            acquired.append(acquire(pool, channel, wait_s))
            monkeypatch.setattr(acquired[0], "get_message", interrupted)
            return acquired[0]

        monkeypatch.setattr(SubscriptionPool, "acquire", acquire_and_break)
        with pytest.raises(KeyboardInterrupt):
            handle.get(LIMIT_S)
        assert acquired[0].connection is None
        wait_until(lambda: subscribers(server.client()) == 0)
