"""clip-worker with tasks of a user's own, which notice when two of one kind run at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from redis import Redis

from worker import app

GO = "go"  # the key that ends the tasks
BEGUN = "begun"  # the list of the processes that began one


@app.task(name="user.alone")
def alone(lock: str) -> int:
    """Hold a lock that ends with this process, until it is told to go on; the process's id.

    Raises:
        BlockingIOError: Somebody else runs it.
    """
    with Redis.from_url(os.environ["CLIP_WORKER_REDIS_URL"]) as redis, Path(lock).open("w") as file:
        redis.rpush(BEGUN, os.getpid())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        while not redis.exists(GO):
            time.sleep(0.02)
        return os.getpid()


@app.task(name="user.limited", rate_limit="1/h")
def limited() -> None:
    """Hardly ever."""


__all__ = ["app"]
