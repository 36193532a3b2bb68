"""What an image costs with more and more labels, whose features are cached.

The demo model, since its text tower encodes ten thousand labels in seconds. The task names a
stored label set, so its message stays small.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.contender import Contender, clip_worker
from benchmarks.bench.labels import label_list
from benchmarks.bench.messages import ClipWorkerSender
from benchmarks.bench.pictures import SMALL, make_pictures
from benchmarks.bench.progress import say
from benchmarks.bench.scale import Scale
from clip_worker import Client

MODEL = "demo"
LONGEST_S = 600.0


class SetSender(ClipWorkerSender):
    """Sends tasks that name a stored label set."""

    def send(self, image: str, labels: Sequence[str]) -> str:
        """Publish `clip.classify`; the labels' count names their set."""
        return self.client.classify(f"file://{image}", label_set=_name(len(labels))).id


def measure(scale: Scale, cache: Path) -> list[dict[str, Any]]:
    """For each number of labels, images a second and processor time an image."""
    images = [str(path) for path in make_pictures(SMALL, cache / "pictures")]
    found = []
    with _worker(cache) as contender:
        for count in scale.labels:
            row = _row(contender, images, label_list(count), scale)
            say(f"    {count:,} labels: {row['cpu_ms'][-1]} ms an image")
            found.append(row)
    return found


def _worker(cache: Path) -> Contender:
    contender = clip_worker(MODEL, str(cache))
    return Contender(contender.name, contender.arguments, contender.environment, SetSender)


def _row(
    contender: Contender, images: Sequence[str], labels: list[str], scale: Scale
) -> dict[str, Any]:
    with Client(contender.server.url) as client:
        client.put_label_set(_name(len(labels)), labels)
    first = contender.run([(images[0], labels)], limit_s=LONGEST_S)  # encodes the labels
    tasks = [(image, labels) for image in itertools.islice(itertools.cycle(images), 256)]
    contender.run(tasks)
    rounds = [contender.run(tasks) for _ in range(scale.side_rounds)]
    return {
        "labels": len(labels),
        "encoded_s": round(first.seconds, 3),
        "tasks": len(tasks),
        "rate": [round(one.tasks / one.seconds, 1) for one in rounds],
        "cpu_ms": [round(1e3 * one.cpu_s / one.tasks, 3) for one in rounds],
        "worker_mb": round(contender.program.rss_bytes / 1e6, 1),
        "redis_mb": round(contender.server.rss_bytes / 1e6, 1),
    }


def _name(count: int) -> str:
    return f"bench-{count}"
