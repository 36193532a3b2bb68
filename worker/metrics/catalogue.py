"""All metrics: name, kind, labels and meaning. `docs/metrics.md` has the same table."""

from __future__ import annotations

from typing import Literal, NamedTuple

PREFIX = "clip_worker_"
Kind = Literal["counter", "gauge", "histogram"]

# Upper bounds of histograms' buckets.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STAGE_SECONDS = (*SECONDS, 300.0, 900.0, 3600.0)  # one of the stages is the queue
IMAGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: Without the prefix; a counter's ends in `_total`.
        kind: As Prometheus has it.
        help: One line.
        labels: Names of its labels.
        buckets: Upper bounds, of a histogram.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prometheus shows it."""
        return PREFIX + self.name


COUNTED = (
    Metric(
        "tasks_total",
        "counter",
        "Tasks that ended here, by outcome: succeeded, failed, revoked (or expired), requeued (for "
        "any worker to take), dead_letter.",
        ("queue", "task", "outcome", "code"),
    ),
    Metric(
        "images_total",
        "counter",
        "Images that ended here, by outcome: succeeded, failed, requeued.",
        ("outcome", "code"),
    ),
    Metric(
        "stage_seconds",
        "histogram",
        "Seconds that an image spent in a stage; only images that succeeded.",
        ("stage",),
        STAGE_SECONDS,
    ),
    Metric("batch_images", "histogram", "Images in a forward pass.", (), IMAGES),
    Metric(
        "batches_total",
        "counter",
        "Forward passes, by what started them: full, idle (the model was), waited (for "
        "CLIP_WORKER_MAX_WAIT_S), deadline (of a task), alone (a task that had crashed a worker).",
        ("reason",),
    ),
    Metric(
        "fetch_retries_total",
        "counter",
        "Further attempts at an image, by what the last one failed with.",
        ("code",),
    ),
    Metric(
        "redis_seconds",
        "histogram",
        "Round trips of commands that take, begin and end tasks.",
        (),
        SECONDS,
    ),
    Metric(
        "embedding_lookups_total",
        "counter",
        "Images that were looked up in the embedding store, by outcome: hit, miss, skipped (the "
        "store was away or slow).",
        ("outcome",),
    ),
    Metric(
        "embeddings_stored_total",
        "counter",
        "Embeddings of images that were encoded, by outcome: written, dropped (the store was away, "
        "slow or full).",
        ("outcome",),
    ),
    Metric(
        "embedding_store_seconds",
        "histogram",
        "Reads and writes of the embedding store, a batch of images each.",
        ("operation",),
        SECONDS,
    ),
)
# Read when somebody asks.
OF_WORKER = (
    Metric("state", "gauge", "1 for the state that the worker is in.", ("state",)),
    Metric(
        "info",
        "gauge",
        "Always 1; its labels say what runs.",
        ("version", "model", "digest", "device", "precision"),
    ),
    Metric("in_flight_images", "gauge", "Images of the tasks that this worker holds."),
    Metric(
        "resting_images",
        "gauge",
        "Those of them that wait for another attempt, or for a host to recover.",
    ),
    Metric("images_per_second", "gauge", "Images that ended a second, over the last 10 s."),
    Metric(
        "usual_images_per_second",
        "gauge",
        "The rate while the worker had enough to do, lately; absent until measured.",
    ),
    Metric("label_cache_hits_total", "counter", "Lists of labels whose features were cached."),
    Metric(
        "label_cache_misses_total",
        "counter",
        "Lists of labels that had to be encoded, at least in part.",
    ),
    Metric("texts_encoded_total", "counter", "Prompts of labels that the text tower encoded."),
    Metric(
        "labels_shared_total",
        "counter",
        "Labels whose features were found in Redis, where another worker had put them.",
    ),
    Metric("hosts_resting", "gauge", "Hosts that are not asked for now because they failed."),
    Metric("preparation_processes", "gauge", "Processes that fetch and decode."),
    Metric("preparation_restarts_total", "counter", "Those that ended and were replaced."),
    Metric(
        "webhooks_total",
        "counter",
        "Attempts to post to a webhook, by outcome: posted, retried, failed (for good).",
        ("outcome",),
    ),
    Metric("gpu_memory_used_bytes", "gauge", "GPU memory that all processes use; GPUs only."),
    Metric("gpu_memory_total_bytes", "gauge", "GPU memory in all; GPUs only."),
    Metric(
        "gpu_use_ratio",
        "gauge",
        "Share of the last second in which the GPU computed, 0 to 1; GPUs only, not MIG.",
    ),
)
OF_QUEUES = (
    Metric("queue_messages", "gauge", "Messages that wait in the queue.", ("queue",)),
    Metric(
        "queue_in_flight_messages",
        "gauge",
        "Messages that workers hold, those of lost workers included.",
        ("queue",),
    ),
    Metric(
        "queue_oldest_seconds",
        "gauge",
        "Age of the oldest message that waits; absent if unknown.",
        ("queue",),
    ),
    Metric(
        "queue_work_seconds",
        "gauge",
        "Time that the queue's workers need for what waits and is in flight, at their usual rates; "
        "absent if unknown.",
        ("queue",),
    ),
    Metric("queue_workers", "gauge", "Workers that hold a lease on the queue.", ("queue",)),
    Metric("dead_letters", "gauge", "Dead letters of the queue.", ("queue",)),
)
METRICS = (*COUNTED, *OF_WORKER, *OF_QUEUES)
