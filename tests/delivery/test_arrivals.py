"""Waiting for messages on a real Redis: any list ends the wait, and none loses its message."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import redis
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import NoPermissionError, OutOfMemoryError
from support.waiting import LIMIT_S, wait_until

from worker.delivery import arrivals
from worker.delivery.arrivals import ListWait, wait_for_any

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

LISTS = ("a", "b", "c")
LONG_S = 600.0


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "BLOCK_S", LONG_S)


def _waits(client: redis.Redis) -> list[ListWait]:
    return [ListWait(client, name, f"arrived:{name}") for name in LISTS]


@pytest.fixture
def waits(redis_url: str) -> Iterator[list[ListWait]]:
    with redis.Redis.from_url(redis_url) as client:
        waits = _waits(client)
        yield waits
        for wait in waits:
            wait.hang_up()


def _blocked(server: redis.Redis) -> int:
    return int(server.info("clients")["blocked_clients"])


def _in_thread(waits: list[ListWait]) -> threading.Thread:
    thread = threading.Thread(target=wait_for_any, args=[waits, LONG_S], daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("name", LISTS)
def test_a_message_in_any_list_ends_the_wait_and_stays_in_redis(
    server: redis.Redis, waits: list[ListWait], name: str
) -> None:
    thread = _in_thread(waits)
    wait_until(lambda: _blocked(server) == len(LISTS))

    server.lpush(name, "first", "second")

    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert server.lrange(f"arrived:{name}", 0, -1) == [b"first"]
    assert server.lrange(name, 0, -1) == [b"second"]


def test_what_is_there_already_ends_the_wait_at_once(
    server: redis.Redis, waits: list[ListWait]
) -> None:
    server.lpush("b", "m")
    wait_for_any(waits, LONG_S)
    assert server.lrange("arrived:b", 0, -1) == [b"m"]


def test_a_wait_that_ends_leaves_the_others_waiting(
    server: redis.Redis, waits: list[ListWait]
) -> None:
    server.lpush("a", "m")
    wait_for_any(waits, LONG_S)
    wait_until(lambda: _blocked(server) == len(LISTS) - 1)
    begun = server.info("stats")["total_connections_received"]

    wait_for_any(waits, 0.01)

    assert _blocked(server) == len(LISTS)
    assert server.info("stats")["total_connections_received"] == begun


def test_one_message_ends_the_wait_of_one_worker(
    server: redis.Redis, waits: list[ListWait], redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        others = _waits(client)
        threads = [_in_thread(waits), _in_thread(others)]
        wait_until(lambda: _blocked(server) == 2 * len(LISTS))

        server.lpush("a", "m")

        wait_until(lambda: not all(thread.is_alive() for thread in threads))
        assert _blocked(server) == 2 * len(LISTS) - 1
        server.lpush("a", "another")
        for thread in threads:
            thread.join(LIMIT_S)
        assert not any(thread.is_alive() for thread in threads)
        for wait in others:
            wait.hang_up()


def test_who_hangs_up_moves_nothing_any_more(server: redis.Redis, waits: list[ListWait]) -> None:
    wait_for_any(waits, 0.01)
    for wait in waits:
        wait.hang_up()
    wait_until(lambda: _blocked(server) == 0)
    server.lpush("a", "m")
    assert server.keys("*") == [b"a"]


def test_a_wait_whose_reply_never_came_is_begun_anew(server: redis.Redis, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        now_s = 0.0
        wait = ListWait(client, "a", "arrived:a", clock=lambda: now_s)
        wait_for_any([wait], 0.01)
        now_s = 2 * LONG_S
        wait_for_any([wait], 0.01)
        wait_until(lambda: _blocked(server) == 1)
        wait.hang_up()


def test_a_lost_connection_is_told_and_made_anew(
    server: redis.Redis, waits: list[ListWait]
) -> None:
    wait_for_any(waits, 0.01)
    server.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(LostConnectionError):
        wait_for_any(waits, LONG_S)
    for wait in waits:
        wait.hang_up()
    server.lpush("a", "m")
    wait_for_any(waits, LONG_S)
    assert server.lrange("arrived:a", 0, -1) == [b"m"]


def test_a_connection_that_was_lost_between_two_waits_is_made_anew(
    server: redis.Redis, waits: list[ListWait]
) -> None:
    server.lpush("a", "m")
    wait_for_any(waits[:1], LONG_S)
    server.client_kill_filter(_type="normal", skipme=True)
    server.lpush("a", "n")
    wait_for_any(waits[:1], LONG_S)
    assert server.lrange("arrived:a", 0, -1) == [b"n", b"m"]


def test_a_full_redis_refuses_to_wait_and_the_waits_can_be_used_again(
    server: redis.Redis, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        wait = _waits(client)[0]
        server.config_set("maxmemory", 1)
        try:
            with pytest.raises(OutOfMemoryError):
                wait_for_any([wait], LONG_S)
        finally:
            server.config_set("maxmemory", 0)
        server.lpush("a", "m")
        wait_for_any([wait], LONG_S)
        assert server.lrange("arrived:a", 0, -1) == [b"m"]
        wait.hang_up()


def test_a_redis_that_does_not_allow_waits_says_so(server: redis.Redis, redis_url: str) -> None:
    rights = {"categories": ["+@all"], "commands": ["-blmove"], "keys": ["*"], "channels": ["*"]}
    server.acl_setuser("hasty", enabled=True, nopass=True, **rights)
    with (
        redis.Redis.from_url(redis_url, username="hasty", password="any") as client,
        pytest.raises(NoPermissionError),
    ):
        wait_for_any(_waits(client), LONG_S)
    server.acl_deluser("hasty")
