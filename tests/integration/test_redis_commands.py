"""Commands sent past redis-py's client, on a real Redis, and what becomes of them when it fails."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as LateError

from clip_worker.redis.commands import Commands
from clip_worker.redis.connections import MasterOnlyConnection
from clip_worker.redis.url import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer

pytestmark = pytest.mark.integration

LIMIT_S = 20.0
NAME = "calls"


@pytest.fixture
def redis(server: RedisServer) -> Iterator[Redis]:
    """A client whose connections have a name."""
    client = connect(f"{server.url}?client_name={NAME}")
    yield client
    client.close()


@pytest.fixture
def commands(redis: Redis) -> Commands:
    return Commands(redis)


def named(server: RedisServer) -> list[dict[str, Any]]:
    return [one for one in server.client().client_list() if one["name"] == NAME]


def cut_off(server: RedisServer) -> None:
    for one in named(server):
        server.client().client_kill_filter(_id=one["id"])


def test_answers_come_as_redis_gives_them(commands: Commands) -> None:
    assert commands("APPEND", "a", "1") == 1
    assert commands("GET", "a") == b"1"
    assert commands("LPUSH", "list", "x", b"y", 3) == 3
    assert commands("LRANGE", "list", 0, -1) == [b"3", b"y", b"x"]
    assert commands("GET", "nothing") is None


def test_one_thread_keeps_to_one_connection(commands: Commands, server: RedisServer) -> None:
    for _ in range(5):
        commands("PING")
        with pytest.raises(ResponseError, match="unknown command"):
            commands("NOSUCHCOMMAND")
    assert len(named(server)) == 1


def test_threads_have_no_more_connections_than_there_are_threads(
    commands: Commands, server: RedisServer
) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda i: commands("ECHO", i), range(400))) == sorted(
            str(i).encode() for i in range(400)
        )
    assert 1 <= len(named(server)) <= 8


def test_a_script_is_loaded_when_it_is_not_there(
    commands: Commands, redis: Redis, server: RedisServer
) -> None:
    script = redis.register_script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")
    assert commands.run(script, ["n"], ["x"]) == [b"n", b"x", 1]
    server.client().script_flush()
    assert commands.run(script, ["n"], ["x"]) == [b"n", b"x", 2]
    assert commands.run(script, ["n"], ["x"]) == [b"n", b"x", 3]
    assert len(named(server)) == 2  # its own, and the one that loaded it


def test_a_connection_that_was_closed_meanwhile_is_not_written_to(
    commands: Commands, server: RedisServer
) -> None:
    commands("LPUSH", "list", "first")
    cut_off(server)
    assert commands("LPUSH", "list", "second") == 2
    assert server.client().lrange("list", 0, -1) == [b"second", b"first"]


def test_a_command_whose_reply_was_lost_is_sent_again(
    commands: Commands, server: RedisServer
) -> None:
    # given a command that waits, and whose connection is cut off then
    commands("PING")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(commands, "BLPOP", "list", 0)
        while not any(one["cmd"] == "blpop" for one in named(server)):
            assert not answer.done()
        cut_off(server)
        # when what it waits for comes
        server.client().rpush("list", "x")
        # then
        assert list(answer.result(LIMIT_S)) == [b"list", b"x"]


def test_a_reply_that_does_not_come_is_not_waited_for_twice(server: RedisServer) -> None:
    client = Redis.from_url(server.url, socket_timeout=0.2)
    commands = Commands(client)
    server.client().set("n", 0)
    commands("PING")
    server.client().client_pause(400, all=False)  # only writes wait
    with pytest.raises(LateError):
        commands("INCR", "n")
    server.client().client_unpause()
    # and its late reply is nobody else's
    assert commands("ECHO", "mine") == b"mine"
    assert server.client().get("n") in (b"0", b"1")
    client.close()


def test_an_interrupted_call_leaves_no_half_read_connection(
    commands: Commands, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    commands("PING")
    monkeypatch.setattr(MasterOnlyConnection, "read_response", interrupt)
    with pytest.raises(KeyboardInterrupt):
        commands("ECHO", "not read")
    monkeypatch.undo()
    assert commands("ECHO", "mine") == b"mine"


def test_a_redis_that_is_away_is_told_and_found_again(
    commands: Commands, server: RedisServer
) -> None:
    commands("PING")
    server.stop()
    with pytest.raises(LostConnectionError):
        commands("PING")
    server.restart()
    assert commands("ECHO", "here") == b"here"


def _call_in_child(commands: Commands, done: Any) -> None:
    done.put([commands("CLIENT", "ID") for _ in range(2)])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork beside threads
def test_a_forked_process_has_connections_of_its_own(commands: Commands) -> None:
    mine = commands("CLIENT", "ID")
    context = multiprocessing.get_context("fork")
    done = context.SimpleQueue()
    child = context.Process(target=_call_in_child, args=(commands, done))
    child.start()
    first, second = done.get()
    child.join(LIMIT_S)
    done.close()
    child.close()
    assert first == second != mine
    assert commands("CLIENT", "ID") == mine
