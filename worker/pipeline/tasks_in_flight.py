"""The image tasks that were submitted and have not ended, and how they end: each once."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from clip_worker.errors import ServiceError
from clip_worker.quoting import redacted, shown_uri
from worker.pipeline.error_translation import stopping, translate
from worker.pipeline.message_outcomes import is_stopping

if TYPE_CHECKING:
    from worker.metrics.instruments import ImageOutcome, Instruments
    from worker.pipeline.image_task import ImageTask, Owner
    from worker.tracing.traces import Traces

logger = logging.getLogger(__name__)

_LEFT_OUT = dict.fromkeys(("decode", "batch_wait", "forward"))


class TasksInFlight:
    """Ends image tasks, whichever thread is the first to do so. Threads may share it.

    Args:
        ended: Called with tasks that have ended, before their owners are told.
        instruments: Count images.
        traces: Trace images; None if nobody wants that.
    """

    def __init__(
        self,
        ended: Callable[[Sequence[ImageTask]], None],
        instruments: Instruments,
        traces: Traces | None,
    ) -> None:
        self._ended = ended
        self._instruments = instruments
        self._traces = traces
        self._tasks: dict[int, ImageTask] = {}
        self._emptied = threading.Condition()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._tasks)

    def __contains__(self, task: ImageTask) -> bool:
        """Whether a task has not ended."""
        return task.key in self._tasks

    def add(self, tasks: Sequence[ImageTask]) -> None:
        """Take tasks that have just been submitted."""
        self._tasks.update({task.key: task for task in tasks})

    def fail(self, task: ImageTask, error: BaseException) -> None:
        """End a task with an error of `clip_worker.errors`, unless it has ended."""
        if self._tasks.pop(task.key, None) is None:
            return
        translated = translate(error, task.image)
        if isinstance(translated, ServiceError):
            _log(task, error, translated.code)
        # Its causes may quote the URI, and Celery stores and logs all that hangs on an error; and
        # a traceback keeps the frames, and with them the task, from being freed.
        translated.__cause__ = translated.__context__ = translated.__traceback__ = None
        task.error = translated
        outcome: ImageOutcome = "requeued" if is_stopping(translated) else "failed"
        self._instruments.image_ended(outcome, translated.code)
        self._tell([task])

    def succeed(self, tasks: Sequence[ImageTask]) -> None:
        """End tasks that have their results, unless they have ended."""
        ended = [task for task in tasks if self._tasks.pop(task.key, None) is not None]
        self._instruments.image_ended("succeeded", count=len(ended))
        self._instruments.stages_ended([_stages(task.result) for task in ended if task.result])
        self._tell(ended)

    def abandon(self, tasks: Sequence[ImageTask] | None = None) -> int:
        """End these tasks, or all, with `TemporaryError`, code `STOPPING`; say how many."""
        abandoned = list(self._tasks.values()) if tasks is None else tasks
        for task in abandoned:
            self.fail(task, stopping(task.image))
        return len(abandoned)

    def drain(self, timeout_s: float) -> int:
        """Wait until there are none, for at most so long; how many are left."""
        with self._emptied:
            self._emptied.wait_for(lambda: not self._tasks, timeout_s)
        return len(self)

    def _tell(self, tasks: Sequence[ImageTask]) -> None:
        if self._traces:
            self._traces.images_ended(tasks)
        self._ended(tasks)
        owners: dict[int, tuple[Owner, list[ImageTask]]] = {}
        for task in tasks:
            owners.setdefault(id(task.owner), (task.owner, []))[1].append(task)
        for owner, its in owners.values():
            try:
                owner.finished(its)
            except Exception:
                logger.exception("The owner of %d image tasks failed", len(its))
        if not self._tasks:
            with self._emptied:
                self._emptied.notify_all()


def _stages(result: dict[str, Any]) -> dict[str, float | None]:
    """The stages that an image went through; with a stored embedding it left some out."""
    timing: dict[str, float | None] = result["timing"]
    return timing if "embedding_from" not in result else timing | _LEFT_OUT


def _log(task: ImageTask, error: BaseException, code: str) -> None:
    trace = redacted("".join(traceback.format_exception(error)), task.image)
    fields = task.message.log_fields(code) if task.message else {"code": code}
    logger.error("Image %s failed:\n%s", shown_uri(task.image), trace.rstrip(), extra=fields)
