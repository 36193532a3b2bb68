"""How long the workers of a queue need for what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_worker.contract.worker_report import WorkerReport


def work_seconds(messages: int, reports: Sequence[WorkerReport]) -> float | None:
    """Seconds until nothing is left, if nothing comes.

    The images are the messages times what a message has on average, as the workers found it. Each
    worker that is ready counts with its usual rate; one that has not measured that yet, such as one
    that has just started, with the average of the others. What a worker does for other queues is
    not deducted.

    Args:
        messages: Waiting and in flight.
        reports: Of the workers of the queue.

    Returns:
        None if no worker knows its rate.
    """
    ready = [report for report in reports if report.state == "ready"]
    rates = [rate for each in ready if (rate := each.usual_images_per_s)]
    if not rates:
        return 0.0 if not messages else None
    return messages * images_per_message(reports) / (sum(rates) / len(rates) * len(ready))


def images_per_message(reports: Sequence[WorkerReport]) -> float:
    """Images in an average message, as far as the workers saw; 1 if none has seen any."""
    known = [each.images_per_message for each in reports if each.images_per_message]
    return sum(known) / len(known) if known else 1.0
