"""What may be wrong with a queue. Each rule yields a finding, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from clip_worker.redis.queue_work import images_per_message
from worker.cli.status.finding import Finding, advice, problem
from worker.cli.status.words import counted, duration, listed

if TYPE_CHECKING:
    from clip_worker.contract.worker_report import WorkerReport
    from worker.cli.status.snapshot import QueueView

LONG_WAIT_S = 600.0
UNNOTICED_S = 30.0  # a waiting worker takes a message at once
GROWTH_SHARE = 0.1  # of what the workers end
TAKING = ("starting", "ready")


def no_worker(queue: QueueView) -> Iterator[Finding]:
    """Nobody takes tasks."""
    if _taking(queue) or _are_unreported(queue):
        return
    total = queue.status.total_messages
    sentence = (
        f"No worker takes tasks from the queue {queue.status.queue!r}{_left(queue)}: start one, "
        "`clip-worker start`, with the same CLIP_WORKER_REDIS_URL and CLIP_WORKER_QUEUE."
    )
    yield (problem if total else advice)("no_worker", sentence)


def unreported_workers(queue: QueueView) -> Iterator[Finding]:
    """Workers hold messages, but none reports."""
    if _are_unreported(queue):
        yield problem(
            "unreported_workers",
            f"{counted(queue.status.workers, 'worker')} of the queue {queue.status.queue!r} "
            "reported nothing: update workers of earlier versions, or let their Redis user write "
            f"the keys clip-worker:{queue.status.queue}:report*.",
        )


def idle_workers(queue: QueueView) -> Iterator[Finding]:
    """Messages wait, and ready workers hold nothing."""
    ready = [report for report in queue.live if report.state == "ready"]
    waited_s = queue.status.oldest_s or 0.0
    if not ready or not queue.status.messages or waited_s < UNNOTICED_S:
        return
    if not queue.images_per_s and not any(report.in_flight for report in ready):
        yield problem(
            "idle_workers",
            f"{counted(queue.status.messages, 'message')} of the queue {queue.status.queue!r} "
            f"waited up to {duration(waited_s)} although {counted(len(ready), 'worker')} are "
            "ready: look at the workers' logs, and restart them.",
        )


def long_wait(queue: QueueView) -> Iterator[Finding]:
    """The oldest message has waited for long, and is worked towards."""
    waited_s = queue.status.oldest_s or 0.0
    if waited_s < LONG_WAIT_S or not queue.images_per_s:
        return
    left = f"; what is queued takes another {duration(queue.work_s)}" if queue.work_s else ""
    yield advice(
        "long_wait",
        f"The oldest message of the queue {queue.status.queue!r} has waited {duration(waited_s)}"
        f"{left}: start more workers if that is too long.",
    )


def growing(queue: QueueView) -> Iterator[Finding]:
    """More comes than the workers end."""
    growth_per_s, work_s = queue.growth_per_s or 0.0, queue.work_s or 0.0
    ended_per_s = queue.images_per_s / images_per_message(queue.live)
    if not ended_per_s or growth_per_s < GROWTH_SHARE * ended_per_s or work_s < LONG_WAIT_S / 10:
        return
    yield advice(
        "growing",
        f"The queue {queue.status.queue!r} grows by {growth_per_s:,.0f} messages a second, while "
        f"its workers finish {ended_per_s:,.0f} a second: start more workers, or let producers "
        "wait (`in_flight` of `classify_many`).",
    )


def different_models(queue: QueueView) -> Iterator[Finding]:
    """Which worker takes a task decides on its answer."""
    models = {report.model_digest: report for report in _taking(queue) if report.model_digest}
    if len(models) > 1:
        named = listed(sorted(_model(report) for report in models.values()))
        yield problem(
            "different_models",
            f"Workers of the queue {queue.status.queue!r} run different models, so the same task "
            f"may get different answers: {named}. Finish the change of the model, or give each a "
            "queue of its own (CLIP_WORKER_QUEUE).",
        )


def different_versions(queue: QueueView) -> Iterator[Finding]:
    """An update is not finished."""
    versions = {report.version: report for report in _taking(queue)}
    if len(versions) > 1:
        named = listed(f"{version} ({versions[version].worker})" for version in sorted(versions))
        yield advice(
            "different_versions",
            f"Workers of the queue {queue.status.queue!r} are of different versions of "
            f"clip-worker: {named}. Update the older ones.",
        )


def dead_letters(queue: QueueView) -> Iterator[Finding]:
    """Messages were given up."""
    if count := queue.status.dead_letters:
        option = "" if queue.status.queue == "clip" else f" --queue {queue.status.queue}"
        yield problem(
            "dead_letters",
            f"The queue {queue.status.queue!r} has {counted(count, 'dead letter')}: `clip-worker "
            f"dead list{option}` says why; replay or purge them.",
        )


RULES: tuple[Callable[[QueueView], Iterator[Finding]], ...] = (
    no_worker,
    unreported_workers,
    idle_workers,
    dead_letters,
    different_models,
    different_versions,
    growing,
    long_wait,
)


def _taking(queue: QueueView) -> list[WorkerReport]:
    """Reports of the workers that take tasks, or soon will."""
    return [report for report in queue.live if report.state in TAKING]


def _are_unreported(queue: QueueView) -> bool:
    return bool(queue.status.workers) and not queue.workers


def _left(queue: QueueView) -> str:
    status, parts = queue.status, []
    if status.messages:
        parts.append(f"{counted(status.messages, 'message')} wait")
    if status.in_flight_messages:
        parts.append(f"{counted(status.in_flight_messages, 'message')} of lost workers are left")
    return f" ({', '.join(parts)})" if parts else ""


def _model(report: WorkerReport) -> str:
    return f"{report.model} {report.model_digest[:8]} on {report.worker}"
