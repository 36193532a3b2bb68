"""A real master with a real replica, and a real sentinel that watches them."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis
from support.redis_server import RedisServer, find_executable, new_server
from support.waiting import wait_until

from worker.cli.child_process import kill_child, start_child
from worker.cli.demo.redis_server import HOST, find_free_port

if TYPE_CHECKING:
    import subprocess

MASTER = "images"
CONFIGURATION = """
port {port}
bind {host}
dir {folder}
sentinel monitor {master} {host} {master_port} 1
sentinel down-after-milliseconds {master} 1000
sentinel failover-timeout {master} 2000
"""


class SentinelDeployment:
    """Two Redis servers and a sentinel, while it is entered."""

    def __init__(self) -> None:
        self._all = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.servers: list[RedisServer] = []
        self.port = find_free_port()

    def __enter__(self) -> Self:
        self.servers = [self._all.enter_context(new_server()) for _ in range(2)]
        master, replica = self.servers
        master.client().config_set("repl-diskless-sync-delay", 0)
        follower = replica.client()
        follower.replicaof(HOST, str(master.port))
        # A sentinel looks every ten seconds, so what it looks for is there before it.
        wait_until(lambda: follower.info("replication")["master_link_status"] == "up")
        folder = Path(self._all.enter_context(tempfile.TemporaryDirectory()))
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            CONFIGURATION.format(
                port=self.port, host=HOST, folder=folder, master=MASTER, master_port=master.port
            )
        )
        log = self._all.enter_context((folder / "sentinel.log").open("wb"))
        command = [str(find_executable()), str(configuration), "--sentinel"]
        self._process = start_child(command, log, directory=folder)
        self._all.callback(kill_child, self._process)
        wait_until(self._knows_replica)
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()

    @property
    def url(self) -> str:
        """Of database 0, with a first sentinel that is not there."""
        absent = f"sentinel://{HOST}:{find_free_port()}"
        return f"{absent};sentinel://{HOST}:{self.port}/0?master={MASTER}"

    @property
    def master_port(self) -> int:
        """Of the server that the sentinel takes for the master."""
        return int(self._sentinel().sentinel_master(MASTER)["port"])

    def fail_over(self) -> None:
        """Make the replica the master, in order; the old one becomes its replica."""
        before = self.master_port
        self._sentinel().sentinel_failover(MASTER)
        wait_until(lambda: self.master_port != before)
        # Until it is demoted, the old master takes writes, which are lost then. The sentinel would
        # tell it after some eight seconds.
        old = next(server for server in self.servers if server.port == before)
        old.client().replicaof(HOST, str(self.master_port))

    def kill_master(self) -> None:
        """Kill -9; the sentinel makes the replica the master by itself."""
        before = self.master_port
        next(server for server in self.servers if server.port == before).kill()
        wait_until(lambda: self.master_port != before)

    def _sentinel(self) -> redis.Redis:
        return redis.Redis(host=HOST, port=self.port)

    def _knows_replica(self) -> bool:
        try:
            replicas = self._sentinel().sentinel_slaves(MASTER)
        except redis.RedisError:
            return False
        return [one["master-link-status"] for one in replicas] == ["ok"]
