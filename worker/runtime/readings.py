"""The metrics that a worker reads off its parts when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from clip_worker.contract.worker_report import WorkerState
from worker.metrics.readings import Value

if TYPE_CHECKING:
    from clip_worker.contract.worker_report import GpuReport
    from worker.runtime.report import SelfReport

PERCENT = 100.0


def readings(source: SelfReport) -> dict[str, Value]:
    """Values by metric, as this worker reports them."""
    report = source.current()
    what = (report.version, report.model, report.model_digest, report.device, report.precision)
    return {
        "state": {(state,): float(state == report.state) for state in get_args(WorkerState)},
        "info": {what: 1.0},
        "in_flight_images": report.in_flight,
        "resting_images": report.resting,
        "images_per_second": report.images_per_s,
        "usual_images_per_second": report.usual_images_per_s,
        "label_cache_hits_total": report.label_cache_hits,
        "label_cache_misses_total": report.label_cache_misses,
        **source.texts(),
        "hosts_resting": report.hosts_resting,
        "preparation_processes": report.preparation_processes,
        "preparation_restarts_total": report.preparation_restarts,
        "webhooks_total": {(outcome,): count for outcome, count in source.webhooks().items()},
        **(_of_gpu(report.gpu) if report.gpu else {}),
    }


def _of_gpu(gpu: GpuReport) -> dict[str, Value]:
    return {
        "gpu_memory_used_bytes": gpu.memory_used_bytes,
        "gpu_memory_total_bytes": gpu.memory_total_bytes,
        "gpu_use_ratio": None if gpu.use_percent is None else gpu.use_percent / PERCENT,
    }
