"""Checks what a crash or restart of Redis would lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.doctor.finding import Finding, ok, problem, skipped, warning

if TYPE_CHECKING:
    from worker.cli.doctor.examined_redis import ExaminedRedis

APPEND = "Set appendonly yes (CONFIG SET appendonly yes, and in its configuration file)."
LOSES = {
    "always": "nothing",
    "everysec": "up to the last two seconds",
    "no": "what the system has not written yet, about 30 seconds",
}


def check_persistence(redis: ExaminedRedis) -> Finding:
    """What is written to disk, and how often."""
    info = redis.info
    if "aof_enabled" not in info:
        return skipped("This Redis doesn't tell whether it writes to disk; ask its provider.")
    if failed := _failed_write(redis):
        return failed
    if info["aof_enabled"]:
        mode = redis.config("appendfsync")
        lost = LOSES.get(mode or "", "what appendfsync allows, which CONFIG doesn't tell here")
        return ok(f"Redis appends each change to a file; a crash loses {lost}.")
    saves = redis.config("save")
    if saves is None:
        return warning(
            "Redis has no append-only file, and CONFIG doesn't tell how often it takes snapshots.",
            "Ask its provider what a restart loses, or turn the append-only file on.",
        )
    if saves:
        return warning(
            f"Redis only takes snapshots ({_described(saves)}); a crash loses all tasks and "
            "results since the last one.",
            APPEND,
        )
    return warning("Redis keeps nothing on disk: a restart loses every queued task.", APPEND)


def _failed_write(redis: ExaminedRedis) -> Finding | None:
    names = ("aof_last_write_status", "rdb_last_bgsave_status")
    failed = [name for name in names if redis.info.get(name, "ok") != "ok"]
    if not failed:
        return None
    return problem(
        f"Redis could not write to its disk ({failed[0]}), and then refuses messages (MISCONF).",
        "Look at its log, free disk space or mend permissions, after which it goes on by itself.",
    )


def _described(saves: str) -> str:
    """`3600 1 300 100` in words.

    >>> _described("3600 1")
    'after 3600 s with 1 change'
    """
    words = saves.split()
    return ", ".join(
        f"after {seconds} s with {changes} change{'' if changes == '1' else 's'}"
        for seconds, changes in zip(words[::2], words[1::2], strict=False)
    )
