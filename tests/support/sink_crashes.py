"""Kills runs that write to a sink at random moments, and lets the last one end.

    python sink_crashes.py '{"target": "results.jsonl", "journal": "journal.json", "kills": 50}'

Each run is a process that continues at the journal's position and writes row after row until it is
killed. The last one stops after a few. It prints how many rows the journal then has. A process of
its own does all that, because it forks, which a test runner with threads must not.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.sink_rows import row

if TYPE_CHECKING:
    from clip_worker.sinks.sink import Sink

from clip_worker.sinks.open import open_sink
from clip_worker.sinks.parquet import ParquetSink

MOST_ROWS = 12  # between two commits
LAST_ROWS = 30
MOST_CALLS = 10_000


def run(plan: dict[str, Any], seed: int, until: float) -> None:
    """Write rows from where the journal says, up to a number of them."""
    draw = random.Random(seed)
    journal = Path(plan["journal"])
    new = {"position": None, "done": 0}
    stored: dict[str, Any] = json.loads(journal.read_text()) if journal.exists() else new
    done, folder = stored["done"], plan.get("folder")
    sink = _sink(plan)
    sink.open(stored["position"])
    _store(journal, sink.commit(), done)
    for number in count(done):
        if number >= until:
            break
        sink.write([row(number, folder=Path(folder) if folder else None)])
        if draw.randrange(MOST_ROWS) == 0:
            _store(journal, sink.commit(), number + 1)
    _store(journal, sink.commit(), int(until))
    sink.close()


class _Killer:
    """Kills its process after so many calls and returns of functions."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def __call__(self, *_: object) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _sink(plan: dict[str, Any]) -> Sink:
    if "part_bytes" in plan:  # which users can't choose
        return ParquetSink(Path(plan["target"]), part_bytes=plan["part_bytes"])
    return open_sink(plan["target"], **plan.get("options", {}))


def _store(journal: Path, position: str, done: int) -> None:
    new = journal.with_suffix(".new")
    new.write_text(json.dumps({"position": position, "done": done}))
    new.replace(journal)


def _start(plan: dict[str, Any], seed: int, until: float, calls: int | None = None) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if calls is not None:
                sys.setprofile(_Killer(calls))
            run(plan, seed, until)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


def main() -> int:
    """Kill as many runs as the plan asks for, then end one."""
    plan = json.loads(sys.argv[1])
    draw = random.Random(plan.get("seed", 1))
    for name in plan.get("preload", ()):  # once, not in each run
        import_module(name)
    for number in range(plan["kills"]):
        # Half of them at a random call of a function, so that a slow machine kills late ones, too;
        # half at a random time, which may be in the middle of a call.
        calls = draw.randrange(plan.get("most_calls", MOST_CALLS)) if number % 2 else None
        child = _start(plan, number, float("inf"), calls)
        if calls is None:
            time.sleep(draw.uniform(0, plan.get("longest_s", 0.1)))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return 1  # it failed, and has said why
    journal = Path(plan["journal"])
    done = json.loads(journal.read_text())["done"] if journal.exists() else 0
    _, status = os.waitpid(_start(plan, plan["kills"], done + LAST_ROWS), 0)
    print(done + LAST_ROWS)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
