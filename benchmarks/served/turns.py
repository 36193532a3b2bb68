"""Rounds in which the servers take turns, and lone images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench.contender import Round
from benchmarks.bench.progress import say
from benchmarks.served.servers import Served

PROBE = 16  # images of the round that tells how many fill a round
STEP = 16  # a round's images are a multiple of it: full batches for every server
PAUSE_S = 0.05  # before a lone image, so that the server is idle


@dataclass
class Samples:
    """What was measured of one server.

    Attributes:
        images: A round.
        rates: Images a second, by round.
        cpu_ms: Processor time of all its processes and of its Redis an image, by round.
        latency_ms: Of lone images.
        answers: By image, label to probability.
    """

    images: int
    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    answers: list[dict[str, float]] = field(default_factory=list)

    def add(self, done: Round) -> None:
        """Count a round."""
        self.rates.append(done.tasks / done.seconds)
        self.cpu_ms.append(1000 * (done.cpu_s + done.redis_cpu_s) / done.tasks)
        self.answers = done.answers


@contextmanager
def awake(server: Served) -> Iterator[None]:
    """The one server that is asked."""
    if server.polling:
        server.polling.resume()
    try:
        yield
    finally:
        suspend(server)


def suspend(server: Served) -> None:
    """Make sure that it takes no processor time until it is asked."""
    if server.polling:
        server.polling.suspend()


def throughput(
    servers: Sequence[Served], images: Sequence[Path], rounds: int, round_s: float, end: float
) -> dict[str, Samples]:
    """Rounds with full queues.

    Args:
        servers: Ready and suspended.
        images: Files.
        rounds: How many each server gets.
        round_s: About how long one should take.
        end: `time.monotonic()` after which no further turn begins; there is one in any case.
    """
    found = {server.name: Samples(_images_a_round(server, images, round_s)) for server in servers}
    for turn in range(rounds):
        if turn and time.monotonic() > end:
            say(f"  {rounds - turn} rounds are left out: time is up")
            break
        for server in servers if turn % 2 == 0 else reversed(servers):
            samples = found[server.name]
            with awake(server):
                samples.add(server.run(images, samples.images))
            say(f"  {server.name}: {samples.rates[-1]:.1f}/s, {samples.cpu_ms[-1]:.0f} ms CPU")
    return found


def _images_a_round(server: Served, images: Sequence[Path], round_s: float) -> int:
    with awake(server):
        probed = server.run(images, PROBE)
    return max(1, round(PROBE / probed.seconds * round_s / STEP)) * STEP


def lone_images(
    servers: Sequence[Served], found: dict[str, Samples], images: Sequence[Path], count: int
) -> None:
    """Add the latency of one image at a time; the servers take turns image by image."""
    for number in range(count):
        for server in servers:
            with awake(server):
                time.sleep(PAUSE_S)
                start = time.perf_counter()
                server.ask(images[number % len(images)])
                found[server.name].latency_ms.append(1000 * (time.perf_counter() - start))
