"""Why Redis can't be used: the words of each version, from a real server if possible."""

from __future__ import annotations

import time

import pytest
from redis import Redis
from redis.exceptions import (
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from support.redis_server import RedisServer, find_executable

from clip_worker.redis.connections import DemotedError
from clip_worker.redis.errors import Fault, fault_of
from clip_worker.redis.url import connect

WRITE = "return redis.call('LPUSH', KEYS[1], ARGV[1])"
SAVE_LIMIT_S = 20.0
NOBODY = ("127.0.0.1", "1")


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ReadOnlyError("You can't write against a read only replica."), Fault.REPLICA),
        (
            ResponseError(
                "Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY "
                "You can't write against a read only replica."
            ),
            Fault.REPLICA,
        ),
        (ResponseError("MASTERDOWN Link with MASTER is down"), Fault.REPLICA),
        (ResponseError("UNBLOCKED force unblock from blocking operation"), Fault.REPLICA),
        (ConnectionError("The previous master is now a slave"), Fault.REPLICA),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), Fault.MEMORY),
        (ResponseError("@user_script: 1: -OOM command not allowed"), Fault.MEMORY),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots, but"), Fault.DISK),
        (BusyLoadingError("Redis is loading the dataset in memory"), Fault.LOADING),
        (ResponseError("WRONGTYPE Operation against a key"), None),
        (ResponseError("no such key: ROOM"), None),
        (ConnectionError("Connection refused"), None),
    ],
)
def test_the_reason_is_found_by_the_class_or_the_words_of_an_error(error, fault):
    assert fault_of(error) is fault


def refusal(redis: Redis, *, script: bool) -> RedisError:
    command = ("EVAL", WRITE, 1, "list", "value") if script else ("LPUSH", "list", "value")
    with pytest.raises(RedisError) as caught:
        redis.execute_command(*command)
    return caught.value


@pytest.mark.integration
@pytest.mark.parametrize("script", [False, True])
def test_a_real_server_that_cannot_write_its_snapshot(tmp_path, *, script):
    # given a snapshot that failed: its folder is gone
    executable, folder = find_executable(), tmp_path / "gone"
    assert executable is not None
    folder.mkdir()
    with (
        RedisServer(executable, "--dir", str(folder)) as server,
        connect(server.url) as redis,
    ):
        redis.config_set("save", "3600 1")
        folder.rmdir()
        redis.bgsave()
        end = time.monotonic() + SAVE_LIMIT_S
        while redis.info("persistence")["rdb_last_bgsave_status"] == "ok":
            assert time.monotonic() < end
        # then
        assert fault_of(refusal(redis, script=script)) is Fault.DISK


@pytest.mark.integration
@pytest.mark.parametrize("script", [False, True])
def test_a_real_server_that_became_a_replica_is_left(server, *, script):
    # given a client of a master that is demoted
    with connect(server.url, retries=0) as redis, server.client() as operator:
        redis.lpush("list", "value")
        before = redis.client_id()
        operator.replicaof(*NOBODY)
        # when
        error = refusal(redis, script=script)
        # then
        assert isinstance(error, DemotedError)
        assert fault_of(error) is Fault.REPLICA
        assert redis.client_id() != before


@pytest.mark.integration
def test_a_blocking_command_that_the_demotion_cuts_short_leaves_too(server):
    with connect(server.url, retries=0) as redis, server.client() as operator:
        with redis.pipeline(transaction=False) as both:
            # the demotion reaches Redis while the connection waits in BLPOP
            connection = redis.connection_pool.get_connection()
            connection.send_command("BLPOP", "list", 60)
            assert both.ping().execute() == [True]
        operator.replicaof(*NOBODY)
        with pytest.raises(DemotedError):
            connection.read_response()
        redis.connection_pool.release(connection)


@pytest.mark.integration
def test_a_master_that_comes_back_is_used_again_without_the_caller_noticing(server, monkeypatch):
    # given a demotion that is over when the client tries again
    with connect(server.url) as redis, server.client() as operator:
        redis.ping()
        operator.replicaof(*NOBODY)
        monkeypatch.setattr("redis.retry.sleep", lambda _: operator.replicaof("NO", "ONE"))
        # then
        assert redis.lpush("list", "value") == 1


@pytest.mark.integration
def test_a_script_inside_multi_that_the_demotion_refuses_leaves_too(server):
    with connect(server.url, retries=0) as redis, server.client() as operator:
        before = redis.client_id()
        operator.replicaof(*NOBODY)
        with redis.pipeline(transaction=True) as both, pytest.raises(DemotedError):
            both.eval(WRITE, 1, "list", "value").execute()
        assert redis.client_id() != before


@pytest.mark.integration
def test_other_errors_inside_multi_stay_with_their_commands(server):
    with connect(server.url, retries=0) as redis, redis.pipeline(transaction=True) as both:
        redis.set("text", "value")
        both.lpush("text", "value").set("other", "value")
        wrong_type, done = both.execute(raise_on_error=False)
        assert isinstance(wrong_type, ResponseError)
        assert done is True


@pytest.mark.integration
def test_kombus_channel_leaves_a_replica_and_comes_back(server, celery):
    # given Celery's own connection
    with celery(server.url).connection_for_write() as connection, server.client() as operator:
        channel = connection.default_channel
        assert connection.as_uri().startswith("redis://")
        operator.replicaof(*NOBODY)
        # when its script runs inside MULTI
        with (
            channel.client.pipeline() as both,
            pytest.raises(channel.connection_errors, match="READONLY"),
        ):
            both.eval(WRITE, 1, "list", "value").execute()
        # then
        operator.replicaof("NO", "ONE")
        assert channel.client.lpush("list", "value") == 1
