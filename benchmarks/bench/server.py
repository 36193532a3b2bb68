"""A `redis-server` of the benchmark's own, and what stands in it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from redis import Redis

from benchmarks.bench.names import KEYS, KOMBUS_UNACKED, QUEUE, RESULT_PREFIX
from worker.cli.demo.embedded_redis import IN_MEMORY, find_server_program
from worker.cli.demo.redis_server import HOST, RedisProcess, start_on_free_port

SCRATCH = 9  # database where messages lie until the clock starts
KEYS_A_COMMAND = 1_000
LIMIT_S = 600.0


class BenchError(RuntimeError):
    """A contender did not do what it should; the sentence says which and what."""


class Server:
    """A `redis-server` that keeps nothing on disk, while it is entered.

    Attributes:
        redis: A client of database 0, where contenders work.
        scratch: A client of the database where messages are made.
    """

    redis: Redis
    scratch: Redis

    def __enter__(self) -> Self:
        program = find_server_program()
        if program is None:
            raise BenchError("there is no redis-server; install one (apt install redis-server)")
        self._directory = tempfile.TemporaryDirectory(prefix="clip-worker-bench-")
        self._process: RedisProcess = start_on_free_port(
            program.path, IN_MEMORY, Path(self._directory.name)
        )
        self.redis = Redis(host=HOST, port=self._process.port)
        self.scratch = Redis(host=HOST, port=self._process.port, db=SCRATCH)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._directory.cleanup()

    @property
    def url(self) -> str:
        """Of database 0."""
        return self._process.url

    @property
    def scratch_url(self) -> str:
        """Of the database where messages are made."""
        return f"redis://{HOST}:{self._process.port}/{SCRATCH}"

    @property
    def cpu_s(self) -> float:
        """Processor time that the server has used, in seconds."""
        used = self.redis.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the server."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    @property
    def waiting(self) -> int:
        """Messages in the queue that nobody has taken yet."""
        return int(self.redis.llen(QUEUE))

    @property
    def settled(self) -> bool:
        """Whether no message waits or is in anybody's hand."""
        leases = [name.decode() for name in self.redis.zrange(KEYS.leases, 0, -1)]
        return not self.redis.exists(QUEUE, KOMBUS_UNACKED, *map(KEYS.unacked, leases))

    def release(self) -> float:
        """Put all messages of the scratch database on the queue at once; Unix time before it."""
        start = time.time()
        if not self.scratch.move(QUEUE, 0):
            raise BenchError("the queue is not empty, or there is nothing to put on it")
        return start

    def results(self, ids: Sequence[str]) -> int:
        """How many of these tasks have a result."""
        found = 0
        for i in range(0, len(ids), KEYS_A_COMMAND):
            keys = [RESULT_PREFIX + task_id for task_id in ids[i : i + KEYS_A_COMMAND]]
            found += int(self.redis.exists(*keys))
        return found

    def metas(self, ids: Sequence[str]) -> list[bytes | None]:
        """What is stored of each task, as JSON."""
        stored: list[Any] = []
        for i in range(0, len(ids), KEYS_A_COMMAND):
            keys = [RESULT_PREFIX + task_id for task_id in ids[i : i + KEYS_A_COMMAND]]
            stored += self.redis.mget(keys)
        return stored

    def drop_results(self) -> None:
        """Delete all results."""
        found: list[Any] = []
        for key in self.redis.scan_iter(RESULT_PREFIX + "*", count=5_000):
            found.append(key)
            if len(found) == KEYS_A_COMMAND:
                self.redis.unlink(*found)
                found.clear()
        if found:
            self.redis.unlink(*found)


def wait_until(
    done: Callable[[], bool],
    alive: Callable[[], None],
    *,
    every_s: float,
    limit_s: float = LIMIT_S,
    what: str,
) -> None:
    """Poll until it is done.

    Args:
        done: Asked every `every_s` seconds.
        alive: Raises if whoever should do it has ended.
        every_s: Pause between questions.
        limit_s: Longest wait.
        what: For the error's sentence.

    Raises:
        BenchError: It took longer.
    """
    end = time.monotonic() + limit_s
    while not done():
        alive()
        if time.monotonic() > end:
            raise BenchError(f"{what} took longer than {limit_s:g} s")
        time.sleep(every_s)
