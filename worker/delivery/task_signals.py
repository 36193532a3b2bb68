"""Celery's signals about tasks that Celery doesn't run itself, where somebody listens.

A task's signals are those of Celery's tracer, in its order: `task_received`, `task_prerun`, then
`task_success`, `task_failure`, `task_retry` or `task_revoked` once Redis has its end, and
`task_postrun`. Each has the registered task as its sender, and `task.request` is set meanwhile.

They are sent by several threads, for no thread belongs to a task: the poller's begins with it,
another one ends it. But all of a task's signals are sent in one context of its own (`contextvars`),
so what a receiver attaches to the context in `task_prerun`, as OpenTelemetry and Datadog do with
their spans, it can detach in `task_postrun`.

See https://docs.celeryq.dev/en/stable/userguide/signals.html.
"""

from __future__ import annotations

import contextvars
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery import signals, states
from celery._state import _task_stack
from celery.app.task import Context
from celery.exceptions import Retry, TaskRevokedError
from celery.worker.request import Request
from kombu.message import Message
from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.delivery.delivery import Delivery

logger = logging.getLogger(__name__)

# Those of a task that has begun, from its beginning to its end.
OF_RUNS = (
    signals.task_prerun,
    signals.task_success,
    signals.task_failure,
    signals.task_retry,
    signals.task_revoked,
    signals.task_postrun,
)
REQUEUED = "Requeued for any worker: this one is stopping, or no longer holds the task."


class TaskSignals:
    """Sends signals. Threads may share it. Where nobody listens it does nothing.

    A receiver that raises is logged by Celery, and the others are called.

    Args:
        task_of: The registered task of a name, or None.
        message_of: A delivery as a message of kombu's.
    """

    def __init__(
        self, task_of: Callable[[str], Any], message_of: Callable[[Delivery], Message]
    ) -> None:
        self._task_of = task_of
        self._message_of = message_of
        self._consumer: Any = None
        self._runs: dict[Delivery, _Run] = {}

    def listen(self, consumer: Any) -> None:
        """Send what is about messages in the name of this consumer of Celery's."""
        self._consumer = consumer

    @property
    def wanted(self) -> bool:
        """Whether the end of some task will be sent."""
        return bool(self._runs)

    def received(self, delivery: Delivery) -> None:
        """A task was taken and will run."""
        task = self._task_of(delivery.envelope.task)
        if signals.task_received.receivers and self._consumer and task:
            with _logged("receipt", delivery):
                request = self._request(delivery, task)
                signals.task_received.send(sender=self._consumer, request=request)

    def rejected(self, delivery: Delivery, error: BaseException) -> None:
        """A message can't be read."""
        self._send_about_message(signals.task_rejected, delivery, exc=error)

    def unknown(self, delivery: Delivery, error: BaseException) -> None:
        """A message is for a task that no worker of its queue knows."""
        name = delivery.envelope.task
        self._send_about_message(
            signals.task_unknown, delivery, exc=error, name=name, id=delivery.id
        )

    def started(self, deliveries: Sequence[Delivery]) -> None:
        """Tasks are about to be worked on."""
        if any(signal.receivers for signal in OF_RUNS):
            for delivery in deliveries:
                self._begin(delivery)

    def succeeded(self, delivery: Delivery, result_json: str) -> None:
        """A task has given a result; sent once it has ended."""
        if run := self._runs.get(delivery):
            run.outcome = (states.SUCCESS, result_json)

    def failed(self, delivery: Delivery, error: BaseException) -> None:
        """A task has raised, or is given up before it has begun; sent once it has ended."""
        if run := self._run(delivery):
            run.outcome = (states.FAILURE, error)

    def revoked(self, delivery: Delivery, *, expired: bool) -> None:
        """A task is not to run; sent once it has ended."""
        if run := self._run(delivery):
            run.outcome = (states.REVOKED, expired)

    def ended(self, deliveries: Sequence[Delivery]) -> None:
        """Redis has the ends of these deliveries. What has no outcome was requeued."""
        if not self._runs:
            return
        for delivery in deliveries:
            if run := self._runs.pop(delivery, None):
                with _logged("end", delivery):
                    run.end()

    def _send_about_message(self, signal: Any, delivery: Delivery, **fields: Any) -> None:
        if signal.receivers and self._consumer:
            with _logged("refusal", delivery):
                signal.send(sender=self._consumer, message=self._message_of(delivery), **fields)

    def _begin(self, delivery: Delivery) -> None:
        with _logged("start", delivery):
            if run := self._new_run(delivery):
                run.begin()
                self._runs[delivery] = run  # not before: one context can't be in two threads
        if delivery.ended:  # while a receiver took its time
            self.ended([delivery])

    def _run(self, delivery: Delivery) -> _Run | None:
        """A delivery's run; a new one, which has not begun, where somebody listens."""
        if delivery not in self._runs and any(signal.receivers for signal in OF_RUNS):
            with _logged("end", delivery):
                if run := self._new_run(delivery):
                    self._runs[delivery] = run
        return self._runs.get(delivery)

    def _new_run(self, delivery: Delivery) -> _Run | None:
        task = self._task_of(delivery.envelope.task)
        return _Run(task, self._request(delivery, task)) if task else None

    def _request(self, delivery: Delivery, task: Any) -> Request:
        return Request(
            self._message_of(delivery),
            app=task.app,
            task=task,
            hostname=getattr(self._consumer, "hostname", None),
            body=delivery.arguments,
            decoded=True,
        )


class _Run:
    """The signals of one task."""

    def __init__(self, task: Any, request: Request) -> None:
        self.outcome: tuple[str, Any] = (states.RETRY, REQUEUED)
        self._task = task
        self._has_begun = False
        self._context = contextvars.copy_context()
        _args, _kwargs, embed = request.body
        fields = {**request.request_dict, **embed}
        self._request = Context(fields, called_directly=False, is_eager=False)
        self._call = {"task_id": request.id, "args": request.args, "kwargs": request.kwargs}

    def begin(self) -> None:
        self._has_begun = True
        self._send(signals.task_prerun, task=self._task, **self._call)

    def end(self) -> None:
        value = self._end()
        if self._has_begun:
            state = self.outcome[0]
            self._send(
                signals.task_postrun, task=self._task, retval=value, state=state, **self._call
            )

    def _end(self) -> object:
        """Send the end; what Celery takes for the task's return value then."""
        state, what = self.outcome
        match state:
            case states.SUCCESS:
                return self._succeed(what)
            case states.FAILURE:
                return self._fail(what)
            case states.REVOKED:
                return self._revoke(expired=what)
        return self._retry(what)

    def _succeed(self, result_json: str) -> object:
        if not (signals.task_success.receivers or signals.task_postrun.receivers):
            return None
        result = from_json(result_json)
        self._send(signals.task_success, result=result)
        return result

    def _fail(self, error: BaseException) -> object:
        if signals.task_failure.receivers:
            with _raised(error) as einfo:
                self._send(
                    signals.task_failure,
                    exception=error,
                    traceback=error.__traceback__,
                    einfo=einfo,
                    **self._call,
                )
        return error

    def _retry(self, why: str) -> object:
        reason = Retry(why)
        if signals.task_retry.receivers:
            with _raised(reason) as einfo:
                self._send(signals.task_retry, request=self._request, reason=reason, einfo=einfo)
        return reason

    def _revoke(self, *, expired: bool) -> object:
        self._send(
            signals.task_revoked,
            request=self._request,
            terminated=False,
            signum=None,
            expired=expired,
        )
        return TaskRevokedError("expired" if expired else "revoked")

    def _send(self, signal: Any, **fields: Any) -> None:
        if signal.receivers:
            self._context.run(self._send_here, signal, fields)

    def _send_here(self, signal: Any, fields: dict[str, Any]) -> None:
        _task_stack.push(self._task)
        self._task.request_stack.push(self._request)
        try:
            signal.send(sender=self._task, **fields)
        finally:
            self._task.request_stack.pop()
            _task_stack.pop()


@contextmanager
def _logged(what: str, delivery: Delivery) -> Iterator[None]:
    """Log what fails: no task may suffer for want of a listener."""
    try:
        yield
    except Exception:
        logger.exception("The %s of task %s[%s] was not signalled", what, *delivery.name)


@contextmanager
def _raised(error: BaseException) -> Iterator[ExceptionInfo]:
    """An error as Celery has it: raised, even if it comes from another process and never was."""
    kept = error.__traceback__
    try:
        if kept is None:
            with suppress(type(error)):
                raise error
        yield ExceptionInfo((type(error), error, error.__traceback__))
    finally:
        error.__traceback__ = kept  # the frame here holds the error in turn
