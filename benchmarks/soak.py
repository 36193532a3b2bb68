"""Millions of results: whether memory stays flat, and whether the metrics are right in the end.

    python -m benchmarks.soak                      (5,000,000 results)
    python -m benchmarks.soak --results 20000      (shows that it works)

A real worker without the work on pixels (`benchmarks.soak_app`), a `redis-server` of its own, and
results that expire after 10 seconds. Of each 100 messages 98 are about one image, one is about
three, and one can't succeed. The program prints memory and keys every 30 seconds. It ends with
status 1 if a counter differs from what was sent, or a key is left in Redis that should not be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.request import urlopen

import psutil
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.bench import machine
from benchmarks.bench.messages import push_cycled, take_template
from benchmarks.bench.names import QUEUE
from benchmarks.bench.program import Program
from benchmarks.bench.server import Server, wait_until
from clip_worker.contract import CLASSIFY, CLASSIFY_MANY
from worker.cli.demo.redis_server import find_free_port

CHUNK = 5_000
BACKLOG = 20_000  # messages that wait at most, so that Redis holds few beside the results
TTL_S = 10
SAMPLE_S = 30.0
SINGLES, MANY_IMAGES = 98, 3  # of each 100 messages; the other two are one of several, one invalid
LABELS = ["a cat", "a dog", "a car", "a tree", "a house"]
MIB = 2**20
Counts = Mapping[tuple[str, ...], float]


@dataclass(frozen=True)
class Sample:
    """The state at one moment: seconds since the start, results, MiB, keys in Redis."""

    at_s: float
    done: int
    worker_mib: float
    redis_mib: float
    keys: int

    def __str__(self) -> str:
        return (
            f"| {self.at_s:,.0f} | {self.done:,} | {self.worker_mib:,.1f} | {self.redis_mib:,.1f} "
            f"| {self.keys:,} |"
        )


class Soak:
    """A worker that works on millions of messages.

    Args:
        server: Its Redis.
        program: The worker.
        port: Where it shows its metrics.
        results: How many messages.
        longest_s: After so many seconds no more are sent.
    """

    def __init__(
        self, server: Server, program: Program, port: int, results: int, longest_s: float
    ) -> None:
        self._server = server
        self._program = program
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._results = results
        self._longest_s = longest_s
        self._start = 0.0
        self.samples: list[Sample] = []
        self.sent = 0

    def run(self) -> None:
        """Send, and wait for the last one."""
        templates = message_templates(self._server)
        self._start, due_s = time.monotonic(), 0.0
        while self.sent < self._results and self._elapsed_s < self._longest_s:
            self._program.check()
            if self._server.waiting < BACKLOG:
                push_cycled(self._server.redis, templates, CHUNK)
                self.sent += CHUNK
            else:
                time.sleep(0.05)
            if self._elapsed_s >= due_s:
                due_s += SAMPLE_S
                self.sample()
        wait_until(
            lambda: self._server.settled and self.done >= self.sent,
            self._program.check,
            every_s=1.0,
            what="the last messages",
        )
        self.sample()

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._start

    @property
    def done(self) -> int:
        """Tasks that have ended, by the worker's own count."""
        return int(sum(self.counts("clip_worker_tasks").values()))

    def sample(self) -> None:
        """Note and print the state now."""
        memory = psutil.Process(self._program.pid).memory_info().rss
        used = self._server.redis.info("memory")["used_memory"]
        keys = int(self._server.redis.dbsize())
        self.samples.append(Sample(self._elapsed_s, self.done, memory / MIB, used / MIB, keys))
        print(self.samples[-1], flush=True)

    def counts(self, name: str) -> Counts:
        """A counter's values, by those of its labels."""
        with urlopen(self._url, timeout=10) as answer:
            text = answer.read().decode()
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            if family.name == name
            for sample in family.samples
        }

    def faults(self) -> list[str]:
        """What is not as it should be in the end."""
        hundreds = self.sent // 100
        tasks = {
            ("", "succeeded", QUEUE, CLASSIFY): SINGLES * hundreds,
            ("", "succeeded", QUEUE, CLASSIFY_MANY): hundreds,
            ("BAD_URI", "failed", QUEUE, CLASSIFY): hundreds,
        }
        images = {("", "succeeded"): (SINGLES + MANY_IMAGES) * hundreds}
        found = []
        for name, due in (("clip_worker_tasks", tasks), ("clip_worker_images", images)):
            if (counted := dict(self.counts(name))) != due:
                found.append(f"{name} is {counted}, and should be {due}.")
        time.sleep(TTL_S + 2)
        left = sorted(key.decode() for key in self._server.redis.scan_iter())
        print(f"Keys in Redis {TTL_S + 2} s later: {', '.join(left)}.")
        if results := [key for key in left if not key.startswith(("clip-worker:", "_kombu."))]:
            found.append(f"{len(results)} keys are left in Redis, such as {results[0]}.")
        return found


def message_templates(server: Server) -> list[bytes]:
    """A hundred messages: see the module."""
    image = "file:///pictures/1.jpg"
    ok = _template(server, CLASSIFY, image=image)
    many = _template(server, CLASSIFY_MANY, images=[image] * MANY_IMAGES)
    invalid = _template(server, CLASSIFY, image="")
    return [*[ok] * SINGLES, many, invalid]


def _template(server: Server, task: str, **kwargs: object) -> bytes:
    with Celery("soak", broker=server.scratch_url, set_as_current=False) as app:
        app.send_task(task, kwargs={"labels": LABELS, **kwargs}, queue=QUEUE, ignore_result=False)
    return take_template(server.scratch)


def main() -> int:
    """Run, and print; 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--results", type=int, default=5_000_000)
    parser.add_argument("--longest", type=float, default=86_400.0, metavar="SECONDS")
    options = parser.parse_args()
    print(machine.sentence(machine.describe(("torch", "celery", "redis", "prometheus-client"))))
    port = find_free_port()
    with Server() as server:
        environment = {
            "CLIP_WORKER_REDIS_URL": server.url,
            "CLIP_WORKER_MODEL": "demo",
            "CLIP_WORKER_MAX_BATCH": "256",
            "CLIP_WORKER_FILE_ROOTS": "/pictures",
            "CLIP_WORKER_RESULT_TTL_S": str(TTL_S),
            "CLIP_WORKER_METRICS_PORT": str(port),
            "CLIP_WORKER_SINGLE_FLIGHT": "false",  # the same images are used again and again
        }
        command = ("-m", "celery", "-A", "benchmarks.soak_app", "worker", "--loglevel", "warning")
        with Program("the worker", command, environment) as program:
            soak = Soak(server, program, port, options.results, options.longest)
            wait_until(
                lambda: is_ready(port), program.check, every_s=0.5, what="the worker to be ready"
            )
            print("\n| s | results | worker MiB | Redis MiB | keys |\n|---|---|---|---|---|")
            soak.run()
            last = soak.samples[-1]
            print(f"\n{last.done:,} results in {last.at_s:,.0f} s: {last.done / last.at_s:,.0f}/s.")
            faults = soak.faults()
    print("\n".join(faults) or "Each counter equals what was sent.")
    return bool(faults)


def is_ready(port: int) -> bool:
    """Whether the worker takes tasks."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
