"""Celery's consumer, but for one thing: it does not throw away tasks of others.

Celery discards a message whose task it doesn't know, and acknowledges it. Our default queue is
Celery's own default, so on a Redis that is shared with a web application's workers that would lose
their tasks.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import Consumer

logger = logging.getLogger(__name__)

OUR_PREFIX = "clip."
PUT_BACK_AFTER_S = 1.0  # so that a lone worker does not spin on it


class GivingConsumer(Consumer):  # type: ignore[misc]  # Celery has no type information
    """Puts a message with a foreign task back on the queue, for the worker that it is meant for."""

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Put the message back after a second; an unknown task of our own name space fails."""
        name = str((message.headers or {}).get("task", ""))
        if not name or name.startswith(OUR_PREFIX):
            super().on_unknown_task(body, message, exc)
            return
        logger.warning(
            "Put back the task %r, which is not clip-worker's. Give clip-worker a queue of its own "
            "(CLIP_WORKER_QUEUE) or a Redis database of its own.",
            name,
        )
        self.timer.call_after(PUT_BACK_AFTER_S, message.requeue)
