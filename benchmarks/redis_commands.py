"""What one command to Redis takes, by redis-py's client and by `clip_worker.redis.commands`.

    python benchmarks/redis_commands.py

A script that does nothing, on a server of its own. "At once" is one call after the other; "after a
pause" comes after 20 ms in which all caches were used for something else, as an idle worker's are
by a forward pass. The two take turns, figures are medians.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench.server import Server
from clip_worker.redis.commands import Commands
from clip_worker.redis.url import connect

ROUNDS = 200
PAUSE_S = 0.02
CACHES_BYTES = 256 * 1024 * 1024


def measure(pause: Callable[[], None], ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds of each way."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, call in ways.items():
            pause()
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return {name: 1e6 * median(times) for name, times in taken.items()}


def main() -> None:
    """Print a table."""
    other = np.zeros(CACHES_BYTES // 8)

    def rest() -> None:
        other.__iadd__(1)
        time.sleep(PAUSE_S)

    with Server() as server:
        redis = connect(server.url)
        script, calls = redis.register_script("return 1"), Commands(redis)
        ways: dict[str, Callable[[], object]] = {
            "redis-py": lambda: script(keys=["a"], args=[1]),
            "ours": lambda: calls.run(script, ["a"], [1]),
        }
        for call in ways.values():
            call()
        print("| | redis-py, us | ours, us | difference, us |")
        print("| --- | --- | --- | --- |")
        for name, pause in (("at once", lambda: None), ("after a pause", rest)):
            found = measure(pause, ways)
            theirs, ours = found["redis-py"], found["ours"]
            print(f"| {name} | {theirs:.0f} | {ours:.0f} | {theirs - ours:.0f} |")
        redis.close()


if __name__ == "__main__":
    main()
