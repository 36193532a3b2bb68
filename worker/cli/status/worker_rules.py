"""What may be wrong with a worker. Each rule yields a finding, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from worker.cli.status.finding import Finding, advice, problem
from worker.cli.status.words import counted, duration

if TYPE_CHECKING:
    from worker.cli.status.snapshot import SeenWorker

LEAST_IMAGES = 100  # before shares mean something
LEAST_RESTARTS = 3
HOUR_S = 3600.0
HALF = 0.5


def silent(worker: SeenWorker) -> Iterator[Finding]:
    """Reports are overdue."""
    if worker.is_silent:
        yield problem(
            "silent_worker",
            f"The worker {worker.report.worker} has not reported for {duration(worker.age_s)}: it "
            "was killed, stands still, or is cut off from Redis. Other workers take over its "
            "messages; look at its log, and start it again.",
        )


def stuck(worker: SeenWorker) -> Iterator[Finding]:
    """Its process makes no progress."""
    if worker.report.state == "stuck":
        yield problem(
            "stuck_worker",
            f"The worker {worker.report.worker} is stuck: it neither takes nor finishes tasks. "
            "Restart it; its messages run again.",
        )


def own_warnings(worker: SeenWorker) -> Iterator[Finding]:
    """What it says itself."""
    for sentence in worker.report.warnings:
        yield advice("worker_warning", f"The worker {worker.report.worker} warns: {sentence}")


def failures(worker: SeenWorker) -> Iterator[Finding]:
    """Most tasks fail."""
    report = worker.report
    failed = sum(report.failures.values())
    if failed < LEAST_IMAGES or failed < HALF * report.images:
        return
    code = max(report.failures, key=lambda code: report.failures[code])
    yield problem(
        "failing_tasks",
        f"Most tasks of the worker {report.worker} failed ({failed:,} since its start), most often "
        f"with {code} ({report.failures[code]:,}); docs/inputs.md explains the codes.",
    )


def resting_hosts(worker: SeenWorker) -> Iterator[Finding]:
    """Hosts fail, and images wait for them."""
    report = worker.report
    if report.hosts_resting:
        waiting = f"; {counted(report.resting, 'image')} wait" if report.resting else ""
        yield advice(
            "resting_hosts",
            f"The worker {report.worker} pauses {counted(report.hosts_resting, 'host')} whose "
            f"fetches failed{waiting}. It tries again by itself; its log names the hosts.",
        )


def preparation_restarts(worker: SeenWorker) -> Iterator[Finding]:
    """Preparation processes end again and again."""
    report = worker.report
    uptime_s = max(1.0, report.reported_at - report.started_at)
    if report.preparation_restarts < max(LEAST_RESTARTS, uptime_s / HOUR_S):
        return
    yield problem(
        "preparation_restarts",
        f"Preparation processes of the worker {report.worker} ended "
        f"{report.preparation_restarts:,} times in {duration(uptime_s)}: images crash the decoder "
        "or need too much memory or time. Its log says why each ended, and the images' tasks fail "
        "with DECODE_CRASHED or DECODE_TOO_EXPENSIVE.",
    )


def label_cache(worker: SeenWorker) -> Iterator[Finding]:
    """Most lists of labels are new."""
    report = worker.report
    hits, misses = report.label_cache_hits, report.label_cache_misses
    if misses >= LEAST_IMAGES and misses > hits:
        yield advice(
            "label_cache_misses",
            f"The worker {report.worker} had to encode labels for {misses / (hits + misses):.0%} "
            "of the lists that it got: send the same labels and templates in many tasks, or store "
            "them as a label set.",
        )


def half_empty_batches(worker: SeenWorker) -> Iterator[Finding]:
    """A GPU waits for images, although the worker has them to prepare."""
    report = worker.report
    batch = report.batch_images
    # On a CPU the cores that prepare images are those that run the model: there is no waiting.
    if batch is None or not report.device.startswith("cuda"):
        return
    working = report.in_flight - report.resting
    if batch < HALF * report.largest_batch and working >= 2 * report.largest_batch:
        yield advice(
            "half_empty_batches",
            f"Batches of the worker {report.worker} hold {batch:.0f} of {report.largest_batch} "
            f"images although it holds {working:,}: fetching and decoding are slower than the GPU. "
            "Give it more cores (CLIP_WORKER_PREPARATION_PROCESSES), more fetches at a time "
            "(CLIP_WORKER_FETCH_THREADS), or smaller images.",
        )


RULES: tuple[Callable[[SeenWorker], Iterator[Finding]], ...] = (
    silent,
    stuck,
    failures,
    preparation_restarts,
    half_empty_batches,
    label_cache,
    resting_hosts,
    own_warnings,
)
