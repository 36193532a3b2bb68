"""What importing the client costs: time and memory of fresh processes, beside Celery alone.

python benchmarks/client_import.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 9
CASES = {
    "nothing": "",
    "celery": "from celery import Celery; Celery(backend='redis://').backend",
    "clip_worker.client": "from clip_worker import Client",
    "clip_worker.client, made": "from clip_worker import Client; Client()",
}
# Linux's ru_maxrss has what the *parent* held when it started the process; VmHWM has not.
PEAK_MB = """
def peak_mb():
    import resource, sys
    try:
        lines = open("/proc/self/status").read().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 1024)
"""
PROBE = (
    PEAK_MB
    + """
import time; start = time.perf_counter()
{statement}
seconds = time.perf_counter() - start
print(seconds, peak_mb(), time.process_time())
"""
)


def main() -> None:
    """Run each case in turn, several rounds, and print the medians."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, statement in CASES.items():
            seen[name].append(measure(statement))
    print(f"{'import':24} {'time':>8} {'memory':>8}   (medians of {ROUNDS})")
    for name, runs in seen.items():
        seconds, megabytes = (statistics.median(figure) for figure in zip(*runs, strict=True))
        print(f"{name:24} {seconds:6.3f} s {megabytes:5.1f} MB")


def measure(statement: str) -> tuple[float, float]:
    """Seconds and peak resident MB of one fresh interpreter."""
    seconds, megabytes, _ = probe(statement)
    return seconds, megabytes


def probe(statement: str, python: str | Path = sys.executable) -> tuple[float, float, float]:
    """Seconds, peak resident MB, and processor seconds with the interpreter's own start."""
    code = PROBE.format(statement=statement)
    printed = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    return float(printed[0]), float(printed[1]), float(printed[2])


if __name__ == "__main__":
    main()
