"""What queues hold, as metrics and as JSON."""

from __future__ import annotations

from collections.abc import Iterable

from worker.metrics.queue_reader import QueueReading
from worker.metrics.readings import Value

NAMES = {  # from a metric to a field of `queue_fields`
    "queue_messages": "messages",
    "queue_in_flight_messages": "in_flight_messages",
    "queue_oldest_seconds": "oldest_seconds",
    "queue_work_seconds": "work_seconds",
    "queue_workers": "workers",
    "dead_letters": "dead_letters",
}


def queue_fields(reading: QueueReading) -> dict[str, str | float | None]:
    """A queue as the exporter shows it in JSON."""
    status = reading.status
    return {
        "queue": status.queue,
        "messages": status.messages,
        "in_flight_messages": status.in_flight_messages,
        "total_messages": status.total_messages,
        "oldest_seconds": status.oldest_s if status.messages else 0.0,
        "work_seconds": reading.work_s,
        "workers": reading.workers,
        "dead_letters": status.dead_letters,
        "webhooks": status.webhooks,
        "tenants": status.tenants,
    }


def queue_values(readings: Iterable[QueueReading]) -> dict[str, Value]:
    """Values by metric; those that are unknown for a queue are left out."""
    found: dict[str, dict[tuple[str, ...], float]] = {metric: {} for metric in NAMES}
    for reading in readings:
        fields = queue_fields(reading)
        for metric, field in NAMES.items():
            if isinstance(value := fields[field], int | float):
                found[metric][reading.status.queue,] = value
    return {metric: values for metric, values in found.items() if values}
