"""The panels of Grafana's dashboard, in rows; scripts/build_dashboard.py writes them as JSON."""

from __future__ import annotations

from dashboard.panel import Panel, Query
from dashboard.queries import by_queue, of_queue, per_second, quantile
from dashboard.worker_rows import EMBEDDINGS, INPUTS, WORKERS


def _stat(
    title: str, description: str, expr: str, unit: str = "short", limits: tuple[float, ...] = ()
) -> Panel:
    return Panel(title, description, (Query(expr),), "stat", unit, width=3, limits=limits)


_TASKS = 'queue=~"$queue"'

OVERVIEW = (
    _stat(
        "Work",
        "Time to finish the queue and what is in flight, at the usual rate of all workers.",
        'max(clip_worker_queue_work_seconds{queue=~"$queue"})',
        "s",
        (300, 600),
    ),
    _stat("Waiting", "Messages in the queue.", of_queue("clip_worker_queue_messages")),
    _stat(
        "In flight",
        "Messages that workers hold.",
        of_queue("clip_worker_queue_in_flight_messages"),
    ),
    _stat(
        "Oldest task",
        "How long the oldest message has waited.",
        'max(clip_worker_queue_oldest_seconds{queue=~"$queue"})',
        "s",
        (300, 900),
    ),
    _stat("Workers", "Workers with a lease.", of_queue("clip_worker_queue_workers")),
    _stat(
        "Images",
        "Images that ended a second, by whatever outcome.",
        "sum(rate(clip_worker_images_total[$__rate_interval]))",
        "ops",
    ),
    _stat(
        "Failures",
        "Share of the tasks that ended, which failed.",
        f'(sum(rate(clip_worker_tasks_total{{{_TASKS},outcome="failed"}}[$__rate_interval]))'
        " or vector(0))"
        f' / sum(rate(clip_worker_tasks_total{{{_TASKS},outcome=~"succeeded|failed"}}'
        "[$__rate_interval]))",
        "percentunit",
        (0.05, 0.2),
    ),
    _stat(
        "Dead letters",
        "Tasks that were given up; replay or purge them.",
        of_queue("clip_worker_dead_letters"),
        limits=(1, 100),
    ),
)

QUEUE = (
    Panel(
        "Messages",
        "What waits, and what workers hold.",
        (
            Query(by_queue("clip_worker_queue_messages"), "{{queue}} waiting"),
            Query(by_queue("clip_worker_queue_in_flight_messages"), "{{queue}} in flight"),
        ),
        is_stacked=True,
    ),
    Panel(
        "Work and waiting time",
        "Seconds of work in the queue and in flight, and the age of the oldest message.",
        (
            Query(by_queue("clip_worker_queue_work_seconds"), "{{queue}} work"),
            Query(by_queue("clip_worker_queue_oldest_seconds"), "{{queue}} oldest"),
        ),
        unit="s",
    ),
    Panel(
        "Workers",
        "Workers with a lease on the queue.",
        (Query(by_queue("clip_worker_queue_workers"), "{{queue}}"),),
    ),
    Panel(
        "Tasks by outcome",
        "Tasks a second.",
        (Query(per_second("clip_worker_tasks_total", "outcome", _TASKS), "{{outcome}}"),),
        unit="ops",
        is_stacked=True,
    ),
    Panel(
        "Failures by code",
        "Failed tasks a second. What each code means: docs/inputs.md and docs/contract.md.",
        (
            Query(
                per_second("clip_worker_tasks_total", "code", f'{_TASKS},outcome="failed"'),
                "{{code}}",
            ),
        ),
        unit="ops",
        is_stacked=True,
    ),
    Panel(
        "Images by worker",
        "Images that ended a second.",
        (Query(per_second("clip_worker_images_total", "instance"), "{{instance}}"),),
        unit="ops",
        is_stacked=True,
    ),
)

BATCHES = (
    Panel(
        "Images in a batch",
        "Average. Well below the largest batch while the queue is long: fetching is the limit.",
        (
            Query(
                f"{per_second('clip_worker_batch_images_sum', 'instance')}"
                f" / {per_second('clip_worker_batch_images_count', 'instance')}",
                "{{instance}}",
            ),
        ),
    ),
    Panel(
        "Why batches ran",
        "Batches a second: full, a runner was idle, the wait for more ended, and so on.",
        (Query(per_second("clip_worker_batches_total", "reason"), "{{reason}}"),),
        unit="ops",
        is_stacked=True,
    ),
    Panel(
        "Stages, 90 % below",
        "Time that nine of ten images spend in each stage at most.",
        (Query(quantile(0.9, "clip_worker_stage_seconds", "stage"), "{{stage}}"),),
        unit="s",
    ),
    Panel(
        "Stages, average",
        "Average time in each stage.",
        (
            Query(
                f"{per_second('clip_worker_stage_seconds_sum', 'stage')}"
                f" / {per_second('clip_worker_stage_seconds_count', 'stage')}",
                "{{stage}}",
            ),
        ),
        unit="s",
    ),
    Panel(
        "Label cache",
        "Share of label lists whose features were cached.",
        (
            Query(
                f"{per_second('clip_worker_label_cache_hits_total', 'instance')} / "
                f"({per_second('clip_worker_label_cache_hits_total', 'instance')}"
                f" + {per_second('clip_worker_label_cache_misses_total', 'instance')})",
                "{{instance}}",
            ),
        ),
        unit="percentunit",
    ),
    Panel(
        "New labels",
        "Prompts that workers encoded, and labels that they found encoded in Redis, a second.",
        (
            Query("sum(rate(clip_worker_texts_encoded_total[$__rate_interval]))", "prompts"),
            Query(
                "sum(rate(clip_worker_labels_shared_total[$__rate_interval]))",
                "labels found in Redis",
            ),
        ),
    ),
    Panel(
        "Images in workers",
        "In flight, and those of them that wait for another attempt or for a host to recover.",
        (
            Query("sum(clip_worker_in_flight_images)", "in flight"),
            Query("sum(clip_worker_resting_images)", "waiting for another attempt"),
        ),
    ),
)

ROWS = {
    "Overview": OVERVIEW,
    "Queue": QUEUE,
    "Batches": BATCHES,
    "Inputs and webhooks": INPUTS,
    "Embeddings": EMBEDDINGS,
    "Workers": WORKERS,
}
