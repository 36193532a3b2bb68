"""Hundreds of threads that share one client: none fails for want of a connection."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.answers import ANSWER, store_answer
from support.redis_sentinel import SentinelDeployment

from clip_worker import Client
from clip_worker.client.handle import as_completed
from clip_worker.client.subscription import MOST_SUBSCRIPTIONS
from clip_worker.errors import QueueUnavailableError
from clip_worker.redis.pool import MOST_CONNECTIONS

pytestmark = [
    pytest.mark.integration,
    # Celery's backend, which these tests store results with
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
]

THREADS = 150
LIMIT_S = 120.0
QUEUE = "crowded"


@pytest.fixture
def client(server):
    with Client(server.url, queue=QUEUE) as client:
        yield client


def at_once(call) -> list[Any]:
    """What each of the threads, which all begin together, gets."""
    start = threading.Barrier(THREADS)

    def begin(number: int) -> Any:
        start.wait(LIMIT_S)
        return call(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(begin, range(THREADS)))


def ask(client) -> Any:
    return client.classify("data:,x", ["cat"])


def connections(server) -> int:
    return len(server.client().client_list())


def test_all_send_and_do_everything_at_once(server, client):
    def work(number: int) -> str:
        handle = ask(client)
        uri = client.upload(b"picture %d" % number)
        client.put_label_set(f"set {number}", ["cat"])
        assert client.classify(uri, label_set=f"set {number}").state == "PENDING"
        client.ping()
        return str(handle.id)

    assert len(set(at_once(work))) == THREADS
    assert server.client().llen(QUEUE) == 2 * THREADS
    assert connections(server) <= MOST_CONNECTIONS + 5  # ours, to ask


def test_all_send_at_once_to_the_master_that_sentinels_name():
    with SentinelDeployment() as deployment, Client(deployment.url, queue=QUEUE) as client:
        at_once(lambda _: ask(client))
        master = next(one for one in deployment.servers if one.port == deployment.master_port)
        assert master.client().llen(QUEUE) == THREADS


@pytest.mark.parametrize("way", ["get", "as_completed"])
def test_all_wait_at_once_while_others_send(server, client, way):
    handles = [ask(client) for _ in range(THREADS)]
    waiting = threading.Barrier(THREADS + 1)

    def answer() -> None:
        waiting.wait(LIMIT_S)
        ask(client)  # when all wait, there is a connection left to send with
        with Client(server.url) as worker:
            for handle in handles:
                store_answer(worker, handle.id)

    def wait(number: int) -> Any:
        waiting.wait(LIMIT_S)
        if way == "get":
            return handles[number].get(LIMIT_S)
        pair = [handles[number], handles[number - 1]]
        return [one.get(0) for one in as_completed(pair, timeout=LIMIT_S)]

    answering = threading.Thread(target=answer)
    answering.start()
    answers = at_once(wait)
    answering.join()

    assert answers == [ANSWER if way == "get" else [ANSWER, ANSWER]] * THREADS
    assert connections(server) <= MOST_CONNECTIONS + MOST_SUBSCRIPTIONS + 10


def test_that_all_connections_stay_in_use_is_told_as_such(client):
    pool: Any = client._redis.connection_pool
    pool.max_connections, pool.wait_s = 2, 0.1
    held = [pool.get_connection() for _ in range(2)]
    for call in (client.ping, lambda: ask(client)):
        with pytest.raises(QueueUnavailableError) as caught:
            call()
        assert "all 2 connections stayed in use for 0.1 s" in caught.value.message
        assert "Use fewer threads" in caught.value.message
        assert "Start it" not in caught.value.message
    pool.release(held.pop())
    client.ping()


def test_who_waits_for_a_connection_gets_the_first_that_is_free(client):
    pool: Any = client._redis.connection_pool
    pool.max_connections, pool.wait_s = 1, LIMIT_S
    held = pool.get_connection()
    with ThreadPoolExecutor(8) as threads:
        pings = [threads.submit(client.ping) for _ in range(8)]
        assert not any(ping.done() for ping in pings)
        pool.release(held)
        assert [ping.result(LIMIT_S) for ping in pings] == [None] * 8


def test_a_redis_that_takes_no_more_clients_is_told_as_such(server, client):
    with server.client() as operator:
        operator.config_set("maxclients", 1)
        with pytest.raises(QueueUnavailableError, match="maxclients") as caught:
            client.ping()
        assert "Start it" not in caught.value.message
