"""What a message costs Redis beside a few idle workers and beside hundreds, heartbeats included.

    python -m benchmarks.idle_fleet [--workers 4 400] [--messages 1500] [--rate 50]

Idle workers are here what Redis sees of them: the connections that wait for each list of the queue
as `worker.delivery.poller` does, and the heartbeats at the pauses that `worker.delivery.heartbeat`
comes to. Whoever is woken takes the message, finishes it and waits again. Bias: one process plays
all workers, so it may be late with heartbeats, which would make them cheaper; the last column says
how many there were.
"""

from __future__ import annotations

import argparse
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench.server import Server
from clip_worker.contract.keys import QueueKeys
from clip_worker.redis.url import connect
from worker.delivery.delivery import Ack
from worker.delivery.heartbeat import Heartbeat
from worker.delivery.in_flight import InFlight
from worker.delivery.redis_queue import RedisQueue

KEYS = QueueKeys("clip")
LEASE_S = 10.0
SETTLE_S = 60.0  # until heartbeats have come to their pauses


class Fleet:
    """So many idle workers on one Redis, played by this process."""

    def __init__(self, url: str, workers: int) -> None:
        client = connect(url, most=10 * workers)
        self.queues = [
            RedisQueue(client, KEYS, lease_s=LEASE_S, result_ttl_s=60) for _ in range(workers)
        ]
        self.heartbeats = [_heartbeat(queue) for queue in self.queues]
        self._due = [time.monotonic() + LEASE_S / 3 * i / workers for i in range(workers)]
        self._selector = selectors.DefaultSelector()
        self.beats = 0
        for queue in self.queues:
            queue.take(1)  # this is how it comes by its lease
            for wait in queue.waits:
                wait.begin()
                self._selector.register(wait, selectors.EVENT_READ, (queue, wait))

    def run(self, seconds: float) -> int:
        """Let the fleet live for so long; how many messages it has finished."""
        end, done = time.monotonic() + seconds, 0
        while (now := time.monotonic()) < end:
            for i, heartbeat in enumerate(self.heartbeats):
                if self._due[i] <= now and heartbeat.is_due():
                    heartbeat.turn()
                    self._due[i] = now + heartbeat.shortest_pause_s
                    self.beats += 1
            for key, _ in self._selector.select(0.001):
                queue, wait = key.data
                wait.end()
                queue.leave_lapsed()
                taken = queue.take(100)
                queue.finish(queue.lease, [Ack(each, "k", "{}") for each in taken])
                done += len(taken)
                wait.begin()
        return done


def _heartbeat(queue: RedisQueue) -> Heartbeat:
    return Heartbeat(
        [queue],
        InFlight(),
        lease_s=LEASE_S,
        watch=lambda: None,
        lost=lambda _: None,
    )


@contextmanager
def _fleet(workers: int) -> Iterator[tuple[Server, Fleet]]:
    with Server() as server:
        server.redis.config_set("maxclients", 10_000)
        yield server, Fleet(server.url, workers)


def measure(workers: int, messages: int, rate: float) -> str:
    """One row of the table."""
    with _fleet(workers) as (server, fleet):
        fleet.run(SETTLE_S)
        fleet.beats, cpu_s, start = 0, server.cpu_s, time.monotonic()
        done = 0
        for _ in range(messages):
            server.redis.lpush(KEYS.queue, "x" * 1000)
            done += fleet.run(1 / rate)
        while done < messages:
            done += fleet.run(0.1)
        cpu_ms = 1000 * (server.cpu_s - cpu_s)
        seconds = time.monotonic() - start
        return f"| {workers} | {cpu_ms / messages:.2f} | {fleet.beats / seconds:.1f} |"


def main() -> None:
    """Measure each size of fleet, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 400])
    parser.add_argument("--messages", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=50.0)
    args = parser.parse_args()
    print("| idle workers | ms of Redis a message | heartbeats a second |\n|---|---|---|")
    for workers in args.workers:
        print(measure(workers, args.messages, args.rate), flush=True)


if __name__ == "__main__":
    main()
