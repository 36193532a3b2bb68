"""What the reports of a fleet cost Redis.

    python -m benchmarks.worker_reports [--workers 400]

Each of so many workers writes its report ten times, one after the other; then all are read ten
times. Redis's own processor time counts, over loopback.
"""

from __future__ import annotations

import argparse

from benchmarks.bench.server import Server
from clip_worker.contract.worker_report import REPORT_EVERY_S, WorkerReport
from clip_worker.redis.worker_reports import WorkerReports

ROUNDS = 10


def report(number: int) -> WorkerReport:
    """As a worker of a large fleet writes it."""
    return WorkerReport(
        worker=f"clip-{number}@host-{number}.example.internal",
        host=f"host-{number}.example.internal",
        pid=number,
        version="0.1.0",
        started_at=1.8e9,
        reported_at=1.8e9,
        state="ready",
        queues=("clip",),
        model="ViT-B/32",
        model_digest="0" * 64,
        device="cuda:0",
        precision="float16",
        failures={f"FETCH_{status}": 1 for status in range(400, 410)},
    )


def main() -> None:
    """Print the costs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker_reports")
    parser.add_argument("--workers", type=int, default=400)
    count = parser.parse_args().workers
    fleet = [report(number) for number in range(count)]
    with Server() as server:
        reports = WorkerReports(server.redis, "clip")
        start = server.cpu_s
        for _ in range(ROUNDS):
            for each in fleet:
                reports.put(each)
        put_s = (server.cpu_s - start) / ROUNDS / count
        start = server.cpu_s
        for _ in range(ROUNDS):
            reports.all()
        read_s = (server.cpu_s - start) / ROUNDS
        kib = server.redis.info("memory")["used_memory_dataset"] / 1024
    print(
        f"A report costs Redis {1e6 * put_s:.0f} µs, those of {count} workers "
        f"{put_s * count / REPORT_EVERY_S:.2%} of a core. Reading all takes "
        f"{1e3 * read_s:.1f} ms. They occupy {kib:.0f} KiB."
    )


if __name__ == "__main__":
    main()
