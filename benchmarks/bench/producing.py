"""What a producer's process takes for many messages: time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.bench.program import ROOT, clean_environment
from benchmarks.bench.server import Server
from benchmarks.client_import import PEAK_MB

COUNTS = {"one by one": (1_000, 5_000), "bulk": (1_000, 10_000, 50_000)}
PROGRAM = (
    PEAK_MB
    + """
import json, sys, time
from clip_worker import Client
url, count = sys.argv[1], int(sys.argv[2])
labels = [f"label {i}" for i in range(10)]
images = [f"file:///images/{i}.jpg" for i in range(count)]
client = Client(url)
client.classify(images[0], labels)  # connects
start = time.perf_counter()
if sys.argv[3] == "bulk":
    client.submit_many(images, labels)
else:
    for image in images:
        client.classify(image, labels)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": round(seconds, 4), "mb": round(peak_mb(), 1)}))
"""
)


def measure(rounds: int) -> list[dict[str, Any]]:
    """Peak memory of a fresh process that sends so many tasks, and how long it took."""
    found: list[dict[str, Any]] = [
        {"how": how, "messages": count, "seconds": [], "mb": []}
        for how, counts in COUNTS.items()
        for count in counts
    ]
    with Server() as server:
        for _ in range(rounds):
            for row in found:
                for name, value in _send(server.url, row["messages"], row["how"]).items():
                    row[name].append(value)
                server.redis.flushdb()
    return found


def _send(url: str, count: int, how: str) -> dict[str, float]:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, str(count), how],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
        cwd=ROOT,
    ).stdout
    found: dict[str, float] = json.loads(printed)
    return found
