"""Celery's task events for tasks that Celery doesn't run itself, while somebody listens (`-E`)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from clip_worker.quoting import redacted

if TYPE_CHECKING:
    from worker.delivery.delivery import Delivery

logger = logging.getLogger(__name__)


class TaskEvents:
    """Sends what `celery events` and Flower show."""

    def __init__(self) -> None:
        self._dispatcher: Any = None

    def listen(self, dispatcher: Any) -> None:
        """Use the consumer's event dispatcher, which changes with each reconnect."""
        self._dispatcher = dispatcher

    @property
    def wanted(self) -> bool:
        """Whether somebody listens to tasks.

        Without `-E` Celery's dispatcher is enabled too, for events of the group "worker" only;
        `celery control enable_events` adds the group "task".
        """
        dispatcher = self._dispatcher
        if dispatcher is None or not dispatcher.enabled:
            return False
        return not dispatcher.groups or "task" in dispatcher.groups

    def received(self, delivery: Delivery) -> None:
        """A task was taken and will run."""
        if not self.wanted:  # which saves writing its arguments
            return
        headers = delivery.envelope.headers
        names = ("argsrepr", "kwargsrepr", "root_id", "parent_id", "retries", "eta", "expires")
        fields = {name.removesuffix("repr"): headers.get(name) for name in names}
        for name in ("args", "kwargs"):  # as the producer wrote them
            fields[name] = redacted(str(fields[name]))
        self._send("received", delivery, name=delivery.envelope.task, **fields)
        self._send("started", delivery)

    def succeeded(self, delivery: Delivery, result: str, runtime_s: float) -> None:
        """A task has given a result."""
        self._send("succeeded", delivery, result=result[:200], runtime=runtime_s)

    def failed(self, delivery: Delivery, error: BaseException) -> None:
        """A task has raised."""
        self._send("failed", delivery, exception=repr(error), traceback=None)

    def revoked(self, delivery: Delivery, *, expired: bool) -> None:
        """A task was not run."""
        self._send("revoked", delivery, terminated=False, signum=None, expired=expired)

    def _send(self, kind: str, delivery: Delivery, **fields: Any) -> None:
        if not self.wanted:
            return
        try:
            self._dispatcher.send(f"task-{kind}", uuid=delivery.id, **fields)
        except Exception as error:  # noqa: BLE001  # no task may fail for want of a listener
            logger.warning("The event task-%s was not sent: %s", kind, error)
