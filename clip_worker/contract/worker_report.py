"""What each worker writes into Redis about itself every few seconds, for `clip-worker status`.

A reader has no other way to a worker that hangs, or whose remote control is off.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clip_worker.contract.results import Wire

REPORT_EVERY_S = 2.0
FORGOTTEN_AFTER_S = 60.0  # of a worker that reports no more

WorkerState = Literal["starting", "ready", "draining", "stuck"]


class GpuReport(Wire, extra="ignore"):
    """A GPU, or a MIG instance, as its worker sees it; None for what the driver doesn't tell.

    Attributes:
        name: As the driver has it.
        uuid: Of the device.
        use_percent: Share of the last second in which it computed.
        memory_used_bytes: Of all processes.
        memory_total_bytes: Of the device.
    """

    name: str
    uuid: str | None = None
    use_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None


class WorkerReport(Wire, extra="ignore"):  # newer workers may say more
    """One worker at one moment. Totals count from its start.

    Attributes:
        worker: Celery's node name, such as `clip-7@host`.
        host: Name of its machine.
        pid: Of its process.
        version: Of clip-worker.
        started_at: Unix time in seconds.
        reported_at: Unix time in seconds, by the worker's clock.
        state: What it does. While it is stuck its process does not take or finish tasks.
        queues: Names of the queues that it takes tasks from.
        model: Name of the model.
        model_digest: SHA-256 of its checkpoint; empty while it loads.
        device: As torch calls it; empty while the model loads.
        precision: Of the image tower; empty while the model loads.
        largest_batch: Most images a forward pass.
        images: How many have ended, by whatever outcome.
        images_per_s: Images that ended a second, over the last 10 seconds.
        usual_images_per_s: The rate while it had enough to do, lately; None until measured.
        batches: How many have run.
        batch_images: Images in an average batch, over the last minute; None without a batch.
        images_per_message: Images in an average message that it took, over the last minute in
            which it took one; None until then.
        in_flight: Images that it holds.
        resting: Those of them that wait for another attempt, or for a host to recover.
        failures: Failed tasks, by error code.
        fetch_retries: Further attempts to fetch an image.
        hosts_resting: Hosts that are not asked for now because they failed.
        label_cache_hits: Lists of labels whose features were cached.
        label_cache_misses: Lists of labels that had to be encoded, at least in part.
        preparation_processes: Processes that fetch and decode.
        preparation_restarts: How many of those ended and were replaced.
        redis_round_trip_s: Usual time of one command, over the last minute.
        gpu: None on a CPU.
        warnings: What the worker itself finds wrong, a sentence each.
    """

    worker: str
    host: str
    pid: int
    version: str
    started_at: float
    reported_at: float
    state: WorkerState
    queues: tuple[str, ...]
    model: str
    model_digest: str = ""
    device: str = ""
    precision: str = ""
    largest_batch: int = 0
    images: int = 0
    images_per_s: float = 0.0
    usual_images_per_s: float | None = None
    batches: int = 0
    batch_images: float | None = None
    images_per_message: float | None = None
    in_flight: int = 0
    resting: int = 0
    failures: dict[str, int] = Field(default_factory=dict)
    fetch_retries: int = 0
    hosts_resting: int = 0
    label_cache_hits: int = 0
    label_cache_misses: int = 0
    preparation_processes: int = 0
    preparation_restarts: int = 0
    redis_round_trip_s: float | None = None
    gpu: GpuReport | None = None
    warnings: tuple[str, ...] = ()
