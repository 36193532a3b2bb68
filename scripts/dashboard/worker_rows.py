"""The rows about single workers: what they read, keep and use."""

from __future__ import annotations

from dashboard.panel import Panel, Query
from dashboard.queries import per_second, quantile

INPUTS = (
    Panel(
        "Fetches tried again",
        "Further attempts a second, by code.",
        (Query(per_second("clip_worker_fetch_retries_total", "code"), "{{code}}"),),
        unit="ops",
        is_stacked=True,
        width=6,
    ),
    Panel(
        "Hosts left alone",
        "Hosts that are not asked for now because they failed.",
        (Query("clip_worker_hosts_resting", "{{instance}}"),),
        width=6,
    ),
    Panel(
        "Preparation processes",
        "Processes that fetch and decode, and how many were replaced within 10 minutes.",
        (
            Query("sum(clip_worker_preparation_processes)", "running"),
            Query("sum(increase(clip_worker_preparation_restarts_total[10m]))", "replaced"),
        ),
        width=6,
    ),
    Panel(
        "Webhooks",
        "Posts a second, by outcome.",
        (Query(per_second("clip_worker_webhooks_total", "outcome"), "{{outcome}}"),),
        unit="ops",
        is_stacked=True,
        width=6,
    ),
)

EMBEDDINGS = (
    Panel(
        "Looked up",
        "Images a second, by outcome: hits are neither decoded nor encoded; skipped ones were not "
        "looked up because the store was away or slow.",
        (Query(per_second("clip_worker_embedding_lookups_total", "outcome"), "{{outcome}}"),),
        unit="ops",
        is_stacked=True,
    ),
    Panel(
        "Stored",
        "Embeddings a second, by outcome.",
        (Query(per_second("clip_worker_embeddings_stored_total", "outcome"), "{{outcome}}"),),
        unit="ops",
        is_stacked=True,
    ),
    Panel(
        "Store, 90 % below",
        "Time that nine of ten reads and writes take at most, each for a batch of images.",
        (
            Query(
                quantile(0.9, "clip_worker_embedding_store_seconds", "operation"), "{{operation}}"
            ),
        ),
        unit="s",
    ),
)

WORKERS = (
    Panel(
        "Workers by state",
        "How many workers are in each state.",
        (Query("sum by (state) (clip_worker_state)", "{{state}}"),),
        is_stacked=True,
    ),
    Panel(
        "Redis round trips, 90 % below",
        "Time that nine of ten commands take at most.",
        (Query(quantile(0.9, "clip_worker_redis_seconds", "instance"), "{{instance}}"),),
        unit="s",
    ),
    Panel(
        "GPU use",
        "Share of time in which the GPU computed.",
        (Query("clip_worker_gpu_use_ratio", "{{instance}}"),),
        unit="percentunit",
    ),
    Panel(
        "GPU memory",
        "Used by all processes on the device, as a share of what it has.",
        (
            Query(
                "clip_worker_gpu_memory_used_bytes / clip_worker_gpu_memory_total_bytes",
                "{{instance}}",
            ),
        ),
        unit="percentunit",
    ),
    Panel(
        "Memory",
        "Resident memory of the model process, without its preparation processes.",
        (Query('process_resident_memory_bytes{job="clip-worker"}', "{{instance}}"),),
        unit="bytes",
    ),
    Panel(
        "Processor",
        "Cores that the model process uses.",
        (
            Query(
                per_second("process_cpu_seconds_total", "instance", 'job="clip-worker"'),
                "{{instance}}",
            ),
        ),
    ),
    Panel(
        "Models",
        "What each worker runs. Different models on one queue give different answers.",
        (Query("clip_worker_info", ""),),
        kind="table",
        width=24,
    ),
)
