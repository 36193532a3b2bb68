"""Celery's pool of threads, where no task can vanish.

What Celery raises around a task's own code (`MemoryError`, a callback that can't be sent, a result
that can't be stored) ends in the future of the pool's thread, at which Celery never looks: the
message would stay in flight for ever, and its caller would wait.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import states
from celery.concurrency import thread
from celery.worker.state import task_ready

from clip_worker.errors import ServiceError
from worker.delivery.celery_bridge import DeliveryChannel

if TYPE_CHECKING:
    from concurrent.futures import Future

logger = logging.getLogger(__name__)


class TaskPool(thread.TaskPool):  # type: ignore[misc]  # Celery has no type information
    """Threads that run tasks; a task whose thread fails gets a failure, too."""

    def on_apply(self, *args: Any, callback: Any = None, **options: Any) -> Any:
        """Run a task, and make sure that it ends."""
        result = super().on_apply(*args, callback=callback, **options)
        # Celery's callback is a method of the request: `Request.on_success`.
        result.f.add_done_callback(partial(_see_to, getattr(callback, "__self__", None)))
        return result


def _see_to(request: Any, future: Future[Any]) -> None:
    error = None if future.cancelled() else future.exception()
    channel = getattr(getattr(request, "message", None), "channel", None)
    if error is None or not isinstance(channel, DeliveryChannel):
        return
    logger.error(
        "Task %s[%s] failed outside of its own code",
        *(request.name, request.id),
        exc_info=error,
        extra={"task_id": request.id},
    )
    task_ready(request)
    if _has_result(request):
        request.acknowledge()
        return
    kind = type(error).__name__
    channel.fail(ServiceError(f"The task failed outside of its own code with {kind}: {error}."))


def _has_result(request: Any) -> bool:
    """Whether Celery has stored how the task ended."""
    try:
        meta = request.task.backend.get_task_meta(request.id, cache=False)
    except Exception:  # noqa: BLE001  # then no result is known to be stored
        return False
    return meta["status"] in states.READY_STATES
