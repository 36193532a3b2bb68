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
from functools import partial
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

OF_ENDS = {
    states.SUCCESS: signals.task_success,
    states.FAILURE: signals.task_failure,
    states.RETRY: signals.task_retry,
    states.REVOKED: signals.task_revoked,
}
OF_RUNS = (signals.task_prerun, *OF_ENDS.values(), signals.task_postrun)
EXPIRED = "expired"
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
            run.outcome = (states.REVOKED, EXPIRED if expired else "revoked")

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
        return _Run(task, partial(self._request, delivery, task)) if task else None

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
    """The signals of one task.

    Args:
        task: As it is registered.
        read: Makes Celery's request of its message, which takes time: only for who listens.
    """

    def __init__(self, task: Any, read: Callable[[], Request]) -> None:
        self.outcome: tuple[str, Any] = (states.RETRY, REQUEUED)
        self._task = task
        self._read = read
        self._request: Context | None = None
        self._has_begun = False
        self._context = contextvars.copy_context()

    def begin(self) -> None:
        self._has_begun = True
        if signals.task_prerun.receivers:
            self._context.run(self._within_request, self._send_start)

    def end(self) -> None:
        has_run = self._has_begun and signals.task_postrun.receivers
        if has_run or OF_ENDS[self.outcome[0]].receivers:
            self._context.run(self._within_request, self._send_end)

    def _within_request(self, send: Callable[[Context], None]) -> None:
        """Send while `task.request` and `celery.current_task` are set."""
        if self._request is None:
            request = self._read()
            _args, _kwargs, embed = request.body
            fields = {**request.request_dict, **embed}
            self._request = Context(fields, called_directly=False, is_eager=False)
        _task_stack.push(self._task)
        self._task.request_stack.push(self._request)
        try:
            send(self._request)
        finally:
            self._task.request_stack.pop()
            _task_stack.pop()

    def _send_start(self, request: Context) -> None:
        self._send(signals.task_prerun, task=self._task, **_call(request))

    def _send_end(self, request: Context) -> None:
        state, what = self.outcome
        match state:
            case states.SUCCESS:
                value = self._succeed(what)
            case states.FAILURE:
                value = self._fail(what, request)
            case states.REVOKED:
                value = self._revoke(what, request)
            case _:
                value = self._retry(what, request)
        if self._has_begun:
            fields = {"task": self._task, "retval": value, "state": state, **_call(request)}
            self._send(signals.task_postrun, **fields)

    def _succeed(self, result_json: str) -> object:
        result: object = from_json(result_json)
        self._send(signals.task_success, result=result)
        return result

    def _fail(self, error: BaseException, request: Context) -> BaseException:
        with _raised(error) as einfo:
            fields = {"exception": error, "traceback": error.__traceback__, "einfo": einfo}
            self._send(signals.task_failure, **fields, **_call(request))
        return error

    def _retry(self, why: str, request: Context) -> Retry:
        reason = Retry(why)
        with _raised(reason) as einfo:
            self._send(signals.task_retry, request=request, reason=reason, einfo=einfo)
        return reason

    def _revoke(self, why: str, request: Context) -> TaskRevokedError:
        fields = {"terminated": False, "signum": None, "expired": why == EXPIRED}
        self._send(signals.task_revoked, request=request, **fields)
        return TaskRevokedError(why)

    def _send(self, signal: Any, **fields: Any) -> None:
        signal.send(sender=self._task, **fields)


def _call(request: Context) -> dict[str, Any]:
    return {"task_id": request.id, "args": request.args, "kwargs": request.kwargs}


@contextmanager
def _logged(what: str, delivery: Delivery) -> Iterator[None]:
    """Log what fails: no task may suffer for want of a listener."""
    try:
        yield
    except BaseException:  # SystemExit would end the thread that takes tasks, or that ends them
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
