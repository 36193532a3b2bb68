"""A snapshot as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from click import style

from worker.cli.output.table import printable
from worker.cli.status.columns import Column, table_lines
from worker.cli.status.finding import Finding, Level
from worker.cli.status.words import counted, duration, size

if TYPE_CHECKING:
    from worker.cli.status.snapshot import QueueView, SeenWorker, Snapshot

UNKNOWN = "-"
MOST_MODEL_CHARS = 28
WIDEST_SENTENCE = 100  # columns; longer lines are hard to read
STATE_COLOURS = {"ready": "green", "starting": "cyan", "draining": "yellow"}  # others are red


def view(
    snapshot: Snapshot, found: Sequence[Finding], url: str, width: int | None
) -> Iterator[str]:
    """Lines of a screen: queues, what looks wrong, workers.

    Args:
        snapshot: What was read.
        found: What looks wrong.
        url: Of Redis, without its password.
        width: Of the screen; None if lines may be of any length.
    """
    yield from _wrapped(_heading(snapshot, url), width)
    yield ""
    yield from table_lines(QUEUE_COLUMNS, snapshot.queues, width)
    for queue in snapshot.queues:
        yield from _wrapped(_tenants(queue), width) if queue.status.tenants else ()
    yield ""
    for finding in found:
        yield from _finding_lines(finding, width)
    if not found:
        yield style("Nothing looks wrong.", fg="green")
    if snapshot.workers:
        yield ""
        has_gpus = any(worker.report.gpu for worker in snapshot.workers)
        columns = [*WORKER_COLUMNS, GPU_COLUMN] if has_gpus else WORKER_COLUMNS
        yield from table_lines(columns, snapshot.workers, width)


def _heading(snapshot: Snapshot, url: str) -> str:
    time = datetime.fromtimestamp(snapshot.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    parts = [time, printable(url)]
    if memory := snapshot.memory:
        limit = f" of {size(memory.limit_bytes)}" if memory.limit_bytes else ""
        parts.append(f"memory {size(memory.used_bytes)}{limit}")
    return ", ".join(parts)


def _wrapped(text: str, width: int | None) -> list[str]:
    return [text] if width is None else textwrap.wrap(text, max(width, 1)) or [""]


def _finding_lines(finding: Finding, width: int | None) -> Iterator[str]:
    is_problem = finding.level is Level.PROBLEM
    lines = [printable(finding.sentence)]
    if width is not None:
        lines = textwrap.wrap(lines[0], max(20, min(width, WIDEST_SENTENCE) - 2))
    for mark, line in zip([("!" if is_problem else "*"), *" " * len(lines)], lines, strict=False):
        yield style(f"{mark} {line}", fg="red" if is_problem else "yellow")


def _tenants(queue: QueueView) -> str:
    """The tenants with the most waiting messages."""
    status = queue.status
    named = [f"{tenant} {count:,}" for tenant, count in status.largest_tenants.items()]
    more = status.tenants - len(named)
    named += [counted(more, "other")] if more > 0 else []
    return f"Waiting in {printable(status.queue)} by tenant: {', '.join(named)}"


def _per_s(rate: float) -> str:
    return f"{rate:.1f}" if 0 < rate < 10 else f"{rate:,.0f}"


def _trend(queue: QueueView) -> str:
    growth = queue.growth_per_s
    return UNKNOWN if growth is None else f"{growth:+,.{int(abs(growth) < 10)}f}/s"


def _optional_duration(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else duration(seconds)


def _batch(worker: SeenWorker) -> str:
    report = worker.report
    batch = UNKNOWN if report.batch_images is None else f"{report.batch_images:.1f}"
    return f"{batch}/{report.largest_batch}"


def _rate(worker: SeenWorker) -> str:
    usual = worker.report.usual_images_per_s
    return _per_s(worker.report.images_per_s) + (f" ({_per_s(usual)})" if usual else "")


def _in_flight(worker: SeenWorker) -> str:
    resting = worker.report.resting
    return f"{worker.report.in_flight:,}" + (f" ({resting:,} resting)" if resting else "")


def _preparation(worker: SeenWorker) -> str:
    restarts = worker.report.preparation_restarts
    ended = f" ({restarts:,} restarts)" if restarts else ""
    return f"{worker.report.preparation_processes}{ended}"


def _cached(worker: SeenWorker) -> str:
    hits, misses = worker.report.label_cache_hits, worker.report.label_cache_misses
    return f"{hits / (hits + misses):.1%}" if hits + misses else UNKNOWN


def _gpu(worker: SeenWorker) -> str:
    gpu = worker.report.gpu
    if gpu is None:
        return UNKNOWN
    parts = [] if gpu.use_percent is None else [f"{gpu.use_percent:.0f}%"]
    if gpu.memory_used_bytes is not None and gpu.memory_total_bytes is not None:
        parts.append(f"{size(gpu.memory_used_bytes)}/{size(gpu.memory_total_bytes)}")
    return " ".join(parts) or gpu.name


def _state(worker: SeenWorker) -> str:
    return "silent" if worker.is_silent else worker.report.state


def _model(worker: SeenWorker) -> str:
    model = worker.report.model
    return model if len(model) <= MOST_MODEL_CHARS else f"...{model[3 - MOST_MODEL_CHARS :]}"


QUEUE_COLUMNS: tuple[Column[QueueView], ...] = (
    Column("queue", lambda queue: queue.status.queue, 0, is_text=True),
    Column("waiting", lambda queue: f"{queue.status.messages:,}", 0),
    Column("in flight", lambda queue: f"{queue.status.in_flight_messages:,}", 1),
    Column("oldest", lambda queue: _optional_duration(queue.status.oldest_s), 2),
    Column("work", lambda queue: _optional_duration(queue.work_s), 1),
    Column("trend", _trend, 4),
    Column("images/s", lambda queue: _per_s(queue.images_per_s), 2),
    Column("workers", lambda queue: f"{len(queue.live)}", 3),
    Column("dead letters", lambda queue: f"{queue.status.dead_letters:,}", 3),
    Column("webhooks", lambda queue: f"{queue.status.webhooks:,}", 6),
    Column("suspects", lambda queue: f"{queue.status.suspects:,}", 7),
)
WORKER_COLUMNS: tuple[Column[SeenWorker], ...] = (
    Column("worker", lambda worker: worker.report.worker, 0, is_text=True),
    Column(
        *("state", _state, 0),
        is_text=True,
        colour=lambda worker: STATE_COLOURS.get(_state(worker), "red"),
    ),
    Column("model", _model, 4, is_text=True),
    Column("device", lambda worker: worker.report.device or UNKNOWN, 6, is_text=True),
    Column("precision", lambda worker: worker.report.precision or UNKNOWN, 8, is_text=True),
    Column("images/s (usual)", _rate, 1),
    Column("batch", _batch, 3),
    Column("in flight", _in_flight, 2),
    Column("preparation", _preparation, 5),
    Column("labels cached", _cached, 7),
    Column("up", lambda worker: duration(_uptime_s(worker)), 9),
)
GPU_COLUMN: Column[SeenWorker] = Column("GPU", _gpu, 7)


def _uptime_s(worker: SeenWorker) -> float:
    return max(0.0, worker.report.reported_at - worker.report.started_at)
