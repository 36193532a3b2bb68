"""How long ten images wait behind a million of another tenant, with a real worker.

    python -m benchmarks.tenant_wait [--large 1000000] [--rounds 5] [--max-batch 8,64,256]

A million messages of one tenant wait in Redis while a worker with the demo model works through
them. Then another tenant sends ten, several times. Reported are the time until all ten are
answered, how many forward passes of a full batch that is, and how many images of the large tenant
were answered meanwhile; without turns it would be a million. All images are different small JPEG
files; the large tenant's messages name the same few thousand again and again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.backfill import LABELS, running_worker, write_pictures
from benchmarks.bench import machine
from benchmarks.bench.names import QUEUE
from benchmarks.bench.server import Server
from clip_worker import Client, as_completed

PICTURES = 5_000  # of the large tenant
SMALL = 10
SENT_AT_ONCE = 10_000
WARM = 500  # images of the large tenant before the first round
PAUSE_S = 1.0
LIMIT_S = 120.0
IMAGES = "clip_worker_images_total"


def counted(port: int) -> dict[str, float]:
    """The worker's counters, summed over their labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    sums: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def send_large(client: Client, uris: Iterator[str], count: int) -> None:
    """Queue the large tenant's messages."""
    for begin in range(0, count, SENT_AT_ONCE):
        some = [*islice(uris, min(SENT_AT_ONCE, count - begin))]
        client.submit_many(some, LABELS, tenant="large")


class Wait(NamedTuple):
    """Of ten images, until all are answered.

    Attributes:
        seconds: From the first that was sent.
        forward_s: Of their longest forward pass.
        others: Images of the large tenant that were answered meanwhile.
    """

    seconds: float
    forward_s: float
    others: float


def wait_of_ten(client: Client, port: int, uris: list[str]) -> Wait:
    """Send ten images, and wait for their answers."""
    before, start = counted(port), time.perf_counter()
    handles = client.submit_many(uris, LABELS, tenant="small")
    answers = [handle.get() for handle in as_completed(handles, timeout=LIMIT_S)]
    seconds, images = time.perf_counter() - start, counted(port)[IMAGES] - before[IMAGES]
    return Wait(seconds, max(each.timing.forward for each in answers), images - len(uris))


def measure(folder: Path, pictures: list[str], large: int, rounds: int, max_batch: int) -> None:
    """Print the rounds' median with one size of batches."""
    own = pictures[PICTURES:]
    with Server() as server, Client(server.url, queue=QUEUE) as client:
        send_large(client, cycle(pictures[:PICTURES]), large)
        with running_worker(server, "worker", folder, max_batch=max_batch) as port:
            while counted(port).get(IMAGES, 0) < WARM:
                time.sleep(0.1)
            found: list[Wait] = []
            for number in range(rounds):
                time.sleep(PAUSE_S)
                found.append(wait_of_ten(client, port, own[number * SMALL :][:SMALL]))
            left = server.redis.zscore(f"clip-worker:{QUEUE}:tenants-waiting", "large")
    middle = Wait(*(statistics.median(each) for each in zip(*found, strict=True)))
    ratios = [each.seconds / each.forward_s for each in found]
    print(
        f"| {max_batch} | {1000 * middle.seconds:,.0f} | {1000 * middle.forward_s:,.0f} "
        f"| {statistics.median(ratios):.1f} | {max(ratios):.1f} | {middle.others:,.0f} "
        f"| {left:,.0f} |",
        flush=True,
    )


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tenant_wait", description=__doc__)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-batch", default="8,64,256")
    options = parser.parse_args()
    print(machine.sentence(machine.describe(("celery", "redis", "torch"))))
    print(
        "\n| largest batch | ms until ten are answered | ms of a forward pass | ratio | in the "
        "worst round | others' images meanwhile | others left |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_pictures(folder, PICTURES + SMALL * options.rounds)
        pictures = [path.as_uri() for path in paths]
        for max_batch in map(int, options.max_batch.split(",")):
            measure(folder, pictures, options.large, options.rounds, max_batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
