"""What the doctor finds about a Redis that is set up in a wrong way."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from support.redis_server import new_server
from support.redis_tls import tls_server

from worker.cli.demo.embedded_redis import IN_MEMORY

pytestmark = pytest.mark.integration


def test_a_port_where_nothing_listens(doctor) -> None:
    status, found = doctor("redis://127.0.0.1:1/0", "redis", "queue", "rights")
    assert status == 1
    assert found["reachable"]["found"] == "Nothing listens at 127.0.0.1:1."
    assert found["latency"]["status"] == found["commands"]["status"] == "skipped"


def test_a_name_that_does_not_resolve(doctor) -> None:
    _, found = doctor("redis://redis.invalid/0", "reachable")
    assert "'redis.invalid' can't be resolved" in found["reachable"]["found"]


def test_a_url_that_is_none(doctor) -> None:
    _, found = doctor("http://localhost", "reachable")
    assert found["reachable"]["found"] == "'http://localhost' is not a Redis URL."


def test_a_password_that_is_missing_or_wrong(doctor) -> None:
    with new_server(*IN_MEMORY) as server:
        server.client().config_set("requirepass", "right")
        for login in ("", ":wrong@"):
            url = f"redis://{login}127.0.0.1:{server.port}/0"
            status, found = doctor(url, "redis")
            assert status == 1
            assert "rejects the login" in found["reachable"]["found"]
            assert "user and password" in found["reachable"]["remedy"]
            assert "wrong" not in str(found)


def test_a_server_that_has_stopped_answering(doctor, server) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        status, found = doctor(server.url, "redis", "queue")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert status == 1
    assert "accepts connections but does not answer" in found["reachable"]["found"]
    assert found["waiting"]["status"] == "skipped"


def test_tls_and_no_tls_mixed_up(doctor, tmp_path) -> None:
    with tls_server(tmp_path) as tls:
        _, plain = doctor(f"redis://localhost:{tls.port}/0", "reachable")
        _, untrusted = doctor(tls.url(), "reachable")
        _, trusted = doctor(tls.url(ssl_ca_certs=tls.authority), "reachable")
        _, encrypted = doctor(f"rediss://localhost:{tls.server.port}/0", "reachable")
    assert "write rediss://" in plain["reachable"]["remedy"]
    assert "ssl_ca_certs" in untrusted["reachable"]["remedy"]
    assert trusted["reachable"]["status"] == "ok"
    assert "TLS port" in encrypted["reachable"]["remedy"]


def test_a_policy_that_drops_queues(doctor, server) -> None:
    server.client().config_set("maxmemory", "100mb")
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    status, found = doctor(server.url, "eviction")
    assert status == 1
    assert "drops any key, queues too (allkeys-lru)" in found["eviction"]["found"]
    assert "noeviction" in found["eviction"]["remedy"]


def test_a_policy_that_drops_results(doctor, server) -> None:
    server.client().config_set("maxmemory", "100mb")
    server.client().config_set("maxmemory-policy", "volatile-ttl")
    status, found = doctor(server.url, "eviction")
    assert (status, found["eviction"]["status"]) == (0, "warning")


def test_memory_that_is_full(doctor, server) -> None:
    server.client().set("large", 20_000_000 * b"x")
    server.client().config_set("maxmemory", "1mb")
    _, found = doctor(server.url, "memory")
    assert found["memory"]["status"] == "problem"


def test_a_replica(doctor, server) -> None:
    with new_server(*IN_MEMORY) as replica:
        replica.client().replicaof("127.0.0.1", server.port)
        status, found = doctor(replica.url, "role")
    assert status == 1
    assert "is a slave" in found["role"]["found"]


def test_snapshots_alone(doctor, server) -> None:
    server.client().config_set("save", "3600 1 300 100")
    _, found = doctor(server.url, "persistence")
    assert "after 3600 s with 1 change" in found["persistence"]["found"]


def test_a_disk_that_can_not_be_written(doctor, server) -> None:
    (Path(server.client().config_get("dir")["dir"]) / "dump.rdb").mkdir()
    server.client().bgsave()
    while server.client().info("persistence")["rdb_bgsave_in_progress"]:
        pass
    status, found = doctor(server.url, "persistence")
    assert status == 1
    assert "rdb_last_bgsave_status" in found["persistence"]["found"]


def test_no_room_for_more_connections(doctor, server) -> None:
    server.client().config_set("maxclients", 12)
    status, found = doctor(server.url, "connections")
    assert status == 1
    assert "of 12 are in use, and a worker needs up to 24" in found["connections"]["found"]


def test_a_provider_that_forbids_config_and_info(doctor, server) -> None:
    server.client().acl_setuser(
        "managed", enabled=True, nopass=True, keys="*", channels="*", categories=["+@all"],
        commands=["-config", "-info"],
    )  # fmt: skip
    url = f"redis://managed:x@127.0.0.1:{server.port}/0"
    status, found = doctor(url, "eviction", "persistence", "latency")
    assert status == 0
    assert found["eviction"]["status"] == "skipped"
    assert "forbids" in found["eviction"]["found"]
    assert found["latency"]["status"] == "ok"


def test_a_server_that_speaks_something_else(doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        status, found = doctor(url, "reachable")
    assert status == 1
    assert "does not answer" in found["reachable"]["found"]
