"""What a worker says of the eviction policy that it finds, of real servers and of a fake one."""

from __future__ import annotations

import pytest
from support.redis_server import RedisServer, find_executable

from clip_worker.errors import ServiceError
from worker.cli.demo.redis_server import find_free_port
from worker.runtime.eviction_check import check_eviction
from worker.settings import Settings

LIMIT = 100 * 1024 * 1024


def check(url: str, result_url: str | None = None) -> list[str]:
    return check_eviction(Settings(redis_url=url, result_url=result_url))


def configure(server: RedisServer, policy: str, limit: int = LIMIT) -> None:
    server.client().config_set("maxmemory", limit)
    server.client().config_set("maxmemory-policy", policy)


@pytest.mark.integration
@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_policy_that_drops_queues_is_refused(server: RedisServer, policy: str) -> None:
    configure(server, policy)
    with pytest.raises(ServiceError, match=f"may drop waiting messages .*{policy}") as caught:
        check(server.url)
    assert caught.value.code == "REDIS_EVICTS"
    assert "CONFIG SET maxmemory-policy noeviction" in caught.value.message


@pytest.mark.integration
def test_a_policy_that_drops_results_is_warned_of(server: RedisServer) -> None:
    configure(server, "volatile-lru")
    [warning] = check(server.url)
    assert "drops results and uploads early" in warning
    assert "noeviction" in warning


@pytest.mark.integration
@pytest.mark.parametrize(
    ("policy", "limit"), [("noeviction", LIMIT), ("noeviction", 0), ("volatile-ttl", 0)]
)
def test_a_redis_that_drops_nothing_is_not_spoken_of(
    server: RedisServer, policy: str, limit: int
) -> None:
    configure(server, policy, limit)
    assert check(server.url) == []


@pytest.mark.integration
def test_a_policy_that_waits_for_a_limit_is_warned_of(server: RedisServer) -> None:
    configure(server, "allkeys-lru", 0)
    [warning] = check(server.url)
    assert "would drop waiting messages (allkeys-lru)" in warning


@pytest.mark.integration
def test_results_that_lie_elsewhere_may_be_dropped_but_not_in_silence(server: RedisServer) -> None:
    executable = find_executable()
    assert executable is not None
    with RedisServer(executable) as results:
        configure(results, "allkeys-lru")
        [warning] = check(server.url, results.url)
        assert results.url in warning
        assert "drops results when its memory is full" in warning


@pytest.mark.integration
@pytest.mark.parametrize(
    ("rights", "tells"),
    [(["-info"], True), (["-config"], True), (["-info", "-config"], False)],
)
def test_one_of_two_commands_is_enough(
    server: RedisServer, rights: list[str], *, tells: bool
) -> None:
    # given a user who may not ask everything
    server.client().execute_command("ACL", "SETUSER", "me", "on", ">secret", "~*", "+@all", *rights)
    configure(server, "volatile-lru")
    # when
    [warning] = check(server.url.replace("redis://", "redis://me:secret@"))
    # then
    assert ("drops results" in warning) is tells
    assert ("answers neither INFO nor CONFIG" in warning) is not tells
    assert "secret" not in warning


def test_a_redis_that_is_not_there_yet_is_no_reason_to_end() -> None:
    [warning] = check(f"redis://127.0.0.1:{find_free_port()}/0")
    assert "eviction policy" in warning


def test_a_fake_redis_is_not_refused() -> None:
    fake = pytest.importorskip(
        "worker.cli.demo.fake_redis", reason="the extra `demo` is not installed"
    )
    with fake.serve() as port:
        [warning] = check(f"redis://127.0.0.1:{port}/0")
    assert "answers neither INFO nor CONFIG" in warning
