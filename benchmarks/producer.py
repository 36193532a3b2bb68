"""What one producer process sends a second: one by one and in bulk, beside Celery's `send_task`.

Every case sends the same images' URIs with ten labels, to a Redis of its own on this machine that
nobody reads from, and which is emptied between rounds. The cases take turns, several rounds; the
median counts. Redis shares the cores with the producer.

python benchmarks/producer.py [MESSAGES]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from celery import Celery

from clip_worker import Client
from clip_worker.contract import CLASSIFY
from worker.cli.demo.embedded_redis import embedded_redis

ROUNDS = 5
QUEUE = "benchmark"
MESSAGES = 20_000
SLOW_SHARE = 10  # what goes one by one sends a tenth of them
LABELS = [f"label number {n}" for n in range(10)]

Case = Callable[[list[str]], object]


def main() -> None:
    """Run the cases in turn and print the medians."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    uris = [f"https://example.org/pictures/{n:08}.jpg" for n in range(count)]
    with embedded_redis() as redis, Client(redis.url, queue=QUEUE) as client:
        bounded = Client(redis.url, queue=QUEUE, max_queue_length=10 * count)
        cases = build_cases(redis.url, client, bounded)
        rates: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, (share, case) in cases.items():
                rates[name].append(measure(client, case, uris[: count // share]))
        bounded.close()
        print(f"{redis.description}, {count} messages, medians of {ROUNDS} rounds (least, most)")
    base = statistics.median(rates["Celery's send_task, result ignored"])
    for name, seen in rates.items():
        rate = statistics.median(seen)
        print(
            f"{name:40} {rate:8,.0f} messages/s ({min(seen):,.0f}, {max(seen):,.0f}) "
            f"{rate / base:5.1f} x"
        )


def build_cases(url: str, client: Client, bounded: Client) -> dict[str, tuple[int, Case]]:
    """Name of a case, its share of the messages, and what sends them."""
    plain = Celery("benchmark", broker=url, backend=url, set_as_current=False)

    def one_by_one(**options: bool) -> Case:
        return lambda uris: [
            plain.send_task(
                CLASSIFY, kwargs={"image": uri, "labels": LABELS}, queue=QUEUE, **options
            )
            for uri in uris
        ]

    def own(uris: list[str]) -> object:
        return client.submit_many(
            {"image": uri, "labels": [*LABELS, str(n)]} for n, uri in enumerate(uris)
        )

    return {
        "Celery's send_task": (SLOW_SHARE, one_by_one()),
        "Celery's send_task, result ignored": (SLOW_SHARE, one_by_one(ignore_result=True)),
        "Client.classify": (SLOW_SHARE, lambda uris: [client.classify(u, LABELS) for u in uris]),
        "Client.classify, bounded": (
            SLOW_SHARE,
            lambda uris: [bounded.classify(uri, LABELS) for uri in uris],
        ),
        "Client.submit_many": (1, lambda uris: client.submit_many(uris, LABELS)),
        "Client.submit_many, bounded": (1, lambda uris: bounded.submit_many(uris, LABELS)),
        "Client.submit_many, labels of their own": (1, own),
    }


def measure(client: Client, case: Case, uris: list[str]) -> float:
    """Messages a second."""
    client._redis.flushall()  # noqa: SLF001  # this Redis is the benchmark's own
    start = time.perf_counter()
    case(uris)
    seconds = time.perf_counter() - start
    assert client._redis.llen(QUEUE) == len(uris)  # noqa: SLF001  # likewise
    return len(uris) / seconds


if __name__ == "__main__":
    main()
