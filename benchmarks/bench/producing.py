"""What a producer's process takes in memory for many messages."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.bench.program import ROOT, clean_environment
from benchmarks.bench.server import Server
from benchmarks.client_import import PEAK_MB

COUNTS = (1, 1_000, 10_000)
PROGRAM = (
    PEAK_MB
    + """
import json, sys, time
from worker.client import Client
url, count = sys.argv[1], int(sys.argv[2])
labels = [f"label {i}" for i in range(10)]
client = Client(url)
start = time.perf_counter()
for i in range(count):
    client.classify(f"file:///pictures/{i}.jpg", labels)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": round(seconds, 3), "mb": round(peak_mb(), 1)}))
"""
)


def measure() -> list[dict[str, Any]]:
    """Peak memory of a fresh process that sends so many tasks one by one, and how long it took."""
    with Server() as server:
        return [{"messages": count} | _send(server.url, count) for count in COUNTS]


def _send(url: str, count: int) -> dict[str, Any]:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, str(count)],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
        cwd=ROOT,
    ).stdout
    found: dict[str, Any] = json.loads(printed)
    return found
