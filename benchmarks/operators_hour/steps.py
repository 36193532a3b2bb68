"""The steps of the hour. Each does something to the processes, and looks what the tools say."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from redis.exceptions import OutOfMemoryError

from benchmarks.operators_hour.fleet import Member
from benchmarks.operators_hour.hour import Hour
from worker.cli.demo.images import image_folder

NEW_PASSWORD = "second-password"
FILLER_BYTES = 1_000_000
SMALLEST_BYTES = 100
ROOM_BYTES = 8_000_000  # left before Redis is full
LEFT = 2  # workers, for the rest of the hour
AWAY_S = 8.0  # until a worker calls Redis away
BUSY_S = 12.0  # until rates and the trend say something
KILLED_STORY = (
    "One worker, {name}, is ended with `kill -9`. Others notice that its lease has lapsed, and "
    "take over what it held."
)


def load_comes(hour: Hour, count: int) -> None:
    """One worker, then more."""
    hour.add_workers(1)
    hour.load.start()
    hour.wait_until_busy()
    time.sleep(BUSY_S)
    hour.look("One worker", "A producer keeps the queue filled; one worker takes from it.")
    hour.add_workers(count - 1)
    time.sleep(BUSY_S)
    hour.look(
        "More workers",
        f"Started more with the same command and the same settings: now there are {count}.",
    )


def model_changes(hour: Hour) -> None:
    """Workers with another checkpoint take the places of the old ones, half of them at a time."""
    checkpoint = str(another_checkpoint(hour.folder))
    old, half = list(hour.running), len(hour.running) // 2
    replace(hour, old[:half], checkpoint)
    hour.wait_for_finding("different_models")
    hour.look(
        "Half-way through a change of the model",
        "Workers with another checkpoint were started, and when they took tasks, as many of the "
        "old ones were stopped. So there is no gap.",
    )
    replace(hour, old[half:], checkpoint)
    hour.wait_until_busy()
    hour.look("The model has changed", "All workers have the new checkpoint.")


def one_is_killed(hour: Hour) -> None:
    """`kill -9`; then there are fewer workers."""
    killed = hour.running[-1]
    hour.kill_worker(killed)
    hour.wait_for_finding("silent_worker")
    hour.look("A worker is killed", KILLED_STORY.format(name=killed.name))
    while len(hour.running) > LEFT:
        hour.stop_worker(hour.running[-1])
    hour.wait_until_busy()
    hour.look(
        "Fewer workers",
        f"All but {LEFT} of the others are stopped in order. The report of the killed one has "
        "expired.",
    )


def redis_is_full(hour: Hour) -> None:
    """Another program fills Redis up to its `maxmemory`."""
    with hour.client() as redis:
        used = int(redis.info("memory")["used_memory"])
        redis.config_set("maxmemory", used + ROOM_BYTES)
        fill(redis.set)
        refused = sum(hour.load.refused.values())
        hour.wait_for_finding("redis_nearly_full")
        time.sleep(BUSY_S)
        hour.look(
            "Redis is full",
            "Another program has filled Redis up to its `maxmemory` (policy `noeviction`). "
            f"Producers get errors: {sum(hour.load.refused.values()) - refused} times until now. "
            "Workers go on with what is queued, and store its results.",
        )
        redis.delete(*redis.scan_iter("filler:*"))
        redis.config_set("maxmemory", 0)


def redis_is_away(hour: Hour) -> None:
    """Redis is stopped, and started again."""
    hour.redis.stop()
    time.sleep(AWAY_S)
    hour.look("Redis is stopped", "Redis was stopped in order; it keeps its data on disk.")
    hour.redis.start()
    hour.wait_until_busy()
    hour.look("Redis is back", "Redis was started again. Nothing else was done.")


def password_changes(hour: Hour) -> None:
    """Both passwords are accepted until each worker and producer has the new one."""
    with hour.client() as redis:
        redis.acl_setuser("default", enabled=True, passwords=[f"+{NEW_PASSWORD}"])
    first, hour.password = hour.password, NEW_PASSWORD
    hour.load.url = hour.url
    replace(hour, list(hour.running), str(another_checkpoint(hour.folder)))
    with hour.client() as redis:
        redis.acl_setuser("default", enabled=True, passwords=[f"-{first}"])
    hour.wait_until_busy()
    hour.look(
        "The password has changed",
        "Redis got a second password (`ACL SETUSER default >new`). The producer was given it; "
        "workers with it were started, and the old ones were stopped. Then the first password was "
        "removed (`ACL SETUSER default <old`).",
    )


def load_ends(hour: Hour) -> None:
    """The queue is worked off, and all workers stop."""
    hour.load.stop()
    hour.wait_until_done()
    hour.look("Nothing is left", "The producer has stopped, and the queue was worked off.")
    for member in list(hour.running):
        hour.stop_worker(member)


def replace(hour: Hour, old: Sequence[Member], model: str) -> None:
    """Start as many workers as there are old ones, then stop those."""
    hour.add_workers(len(old), model)
    for member in old:
        hour.stop_worker(member)


def fill(store: Callable[[str, bytes], object]) -> None:
    """Store strings, smaller and smaller ones, until Redis refuses them."""
    number, size = 0, FILLER_BYTES
    while size > SMALLEST_BYTES:
        try:
            store(f"filler:{number}", bytes(size))
            number += 1
        except OutOfMemoryError:
            size //= 10


def another_checkpoint(folder: Path) -> Path:
    """The demo model with a higher logit scale: other weights, so another hash."""
    path = folder / "demo-2.pt"
    if not path.exists():
        weights = torch.load(image_folder().parent / "demo.pt", weights_only=True)
        weights["logit_scale"] = weights["logit_scale"] + 0.1
        torch.save(weights, path)
    return path
