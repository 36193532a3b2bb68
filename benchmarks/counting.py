"""What counting costs the process that holds the model, by images that are counted together.

    python -m benchmarks.counting        (10 seconds)

Processor time of one thread, the least of the rounds: what a worker adds to its counters for a
batch of images, each of a task of its own, divided by the images. `benchmarks.model_process`
measures what an image costs that process in all.
"""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

from benchmarks.message_cost import least_us
from worker.delivery.delivery import Lease
from worker.metrics.instruments import STAGES, Instruments

SIZES = (1, 8, 64, 256)
BATCHES = 200
ROUND_TRIPS = 3  # a batch: take, begin, finish


def batch(size: int) -> Any:
    """The timings and the deliveries of a batch, as the worker has them."""
    draw = random.Random(size)
    queue: Any = SimpleNamespace(name="clip")
    lease = Lease(queue, 0.0)
    envelope = SimpleNamespace(task="clip.classify")
    return SimpleNamespace(
        timings=[{stage: draw.expovariate(10.0) for stage in STAGES} for _ in range(size)],
        deliveries=[SimpleNamespace(lease=lease, envelope=envelope) for _ in range(size)],
    )


def main() -> None:
    """Print the table."""
    instruments = Instruments()

    def images(of: Any) -> None:
        instruments.image_ended("succeeded", count=len(of.timings))
        instruments.stages_ended(of.timings)

    def tasks(of: Any) -> None:
        # As `worker.delivery.acks` does.
        counts = Counter((each.lease, each.envelope.task) for each in of.deliveries)
        for (lease, task), count in counts.items():
            instruments.task_ended(lease.queue.name, task, "succeeded", "", count)

    def the_rest(of: Any) -> None:
        instruments.batch_ran(len(of.timings), "full")
        for _ in range(ROUND_TRIPS):
            instruments.redis_answered(0.001)

    print("| images together | images, stages | tasks | batch, Redis | all, µs an image |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        given = [batch(size)] * (BATCHES if size < SIZES[-1] else BATCHES // 4)
        costs = [least_us(count, given) / size for count in (images, tasks, the_rest)]
        print(f"| {size} | {' | '.join(f'{cost:.2f}' for cost in (*costs, sum(costs)))} |")


if __name__ == "__main__":
    main()
