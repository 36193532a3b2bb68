"""Celery's signals about the tasks that the queue consumer runs, compared with Celery's own."""

from __future__ import annotations

import contextvars
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.worker.request import Request
from support.task_signals import (
    BODY,
    HEADERS,
    HOST,
    MESSAGE,
    RESULT,
    RUNS,
    TASK,
    Consumer,
    Receivers,
    Worker,
    broken,
)

from clip_worker.errors import ClipWorkerError
from worker.delivery.acks import Acks
from worker.delivery.celery_bridge import message_of
from worker.delivery.delivery import Crash, Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    receivers = Receivers()
    yield receivers
    receivers.close()


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("worker", broker="memory://", backend="cache+memory://", set_as_current=False)

    @app.task(name=TASK, throws=(ClipWorkerError,), shared=False)
    def classify(_image: str, labels: list[str]) -> Any:
        if labels == ["fails"]:
            raise broken()
        return RESULT

    app.finalize()
    yield app
    app.close()


@pytest.fixture
def open_worker(app: Celery) -> Iterator[Callable[..., Worker]]:
    opened: list[Worker] = []

    def open_(**policy: Any) -> Worker:
        opened.append(Worker(app, **policy))
        return opened[-1]

    yield open_
    for worker in opened:
        worker.acks.writer.stop(10)


@pytest.fixture
def worker(open_worker: Callable[..., Worker]) -> Worker:
    return open_worker()


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
def test_the_signals_of_a_task_are_those_of_celerys_tracer(app, worker, receivers, fails):
    body = [["data:,"], {"labels": ["fails"] if fails else ["a"]}, BODY[2]]
    message = MESSAGE | {"body": json.dumps(body)}
    receivers.listen(*RUNS)
    # given what Celery sends when it runs a task
    delivery = worker.delivery(message)
    assert worker.router.read(delivery)
    request = Request(message_of(delivery, worker.acks), app=app, hostname=HOST)
    fields = {**request.request_dict, "is_eager": False, **body[2]}
    build_tracer(TASK, app.tasks[TASK], app=app)(request.id, *body[:2], fields)
    by_celery, receivers.calls = receivers.calls, []
    # when the queue consumer runs it
    delivery, error = worker.take(message), broken()
    if fails:
        worker.acks.fail(delivery, error)
    else:
        worker.acks.succeed(delivery, json.dumps(RESULT))
    worker.wait_for_end()
    # then receivers are called with the same
    names = ["prerun", "failure" if fails else "success", "postrun"]
    assert [call["signal"] for call in receivers.calls] == names
    assert receivers.calls == by_celery
    assert set(receivers.senders) == {app.tasks[TASK]}
    # and the request is what OpenTelemetry and Datadog read
    asked = receivers.calls[0]["task.request"]
    assert asked["traceparent"] == asked["headers"]["traceparent"] == HEADERS["traceparent"]
    assert asked["delivery_info"]["routing_key"] == "clip"
    assert error.__traceback__ is None


@pytest.mark.parametrize("end", [Acks.give_back, Acks.drop], ids=["requeued", "lost"])
def test_a_task_that_is_left_to_another_worker_is_retried(worker, receivers, end):
    receivers.listen(*RUNS)

    end(worker.acks, worker.take())
    worker.wait_for_end()

    assert receivers.heard == ["prerun", "retry", "postrun RETRY"]
    assert receivers.calls[1]["reason"].startswith("Retry: Requeued")
    assert receivers.calls[1]["request"].id == "an-id"


def test_a_task_that_is_not_to_run_is_revoked(open_worker, receivers):
    revoked: set[str] = set()
    worker = open_worker(revoked=revoked)
    receivers.listen(*RUNS, "received")
    # when it is revoked while it waits for its batch
    delivery = worker.take()
    revoked.add("an-id")
    assert not worker.acks.is_wanted(delivery)
    worker.wait_for_end()
    # and when it is before it comes
    worker.take()
    worker.wait_for_end()

    assert receivers.heard == ["received", "prerun", "revoked", "postrun REVOKED", "revoked"]
    assert [receivers.calls[i]["expired"] for i in (2, 4)] == [False, False]


def test_what_never_runs_is_signalled_as_celery_does(worker, receivers):
    receivers.listen(*RUNS, "received", "rejected", "unknown")

    worker.take(crashes=(Crash(1.0, 1, "w"), Crash(2.0, 1, "w")))  # it kills workers
    worker.take(MESSAGE | {"headers": HEADERS | {"task": "clip.unknown"}})
    worker.take(MESSAGE | {"headers": HEADERS | {"eta": "tomorrow"}})
    for _ in range(3):
        worker.wait_for_end()

    assert sorted(receivers.heard) == ["failure", "rejected", "unknown"]
    by_name = {call["signal"]: call for call in receivers.calls}
    assert "killed its worker" in by_name["failure"]["exception"]
    assert (by_name["unknown"]["name"], by_name["unknown"]["id"]) == ("clip.unknown", "an-id")
    assert "tomorrow" in str(by_name["rejected"]["exc"])
    assert {sender.hostname for sender in receivers.senders if isinstance(sender, Consumer)} == {
        HOST
    }


def test_what_is_attached_to_the_context_before_a_task_is_detached_after_it(worker, receivers):
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="none")
    tokens: dict[int, Any] = {}
    seen: list[tuple[str, str]] = []
    threads: set[int] = set()

    def attach(**fields: Any) -> None:
        tokens[id(fields["task"].request)] = span.set(f"of run {len(tokens)}")

    def detach(task: Any, **_: Any) -> None:
        during = span.get()
        span.reset(tokens[id(task.request)])  # ValueError in another context
        seen.append((during, span.get()))
        threads.add(threading.get_ident())

    receivers.connect("prerun", attach)
    receivers.connect("postrun", detach)
    # given two tasks at once, begun on this thread
    first = worker.take()
    second = worker.take(MESSAGE | {"headers": HEADERS | {"id": "another"}})
    # when another thread ends them
    for delivery in (first, second):
        worker.acks.succeed(delivery, "1")
        worker.wait_for_end()

    assert seen == [("of run 0", "none"), ("of run 1", "none")]
    assert threading.get_ident() not in threads
    assert span.get() == "none"


@pytest.mark.parametrize(
    ("error", "heard"),
    [(RuntimeError, ["prerun", "success", "postrun SUCCESS"]), (SystemExit, [])],
)
def test_a_receiver_that_raises_does_not_harm_the_task(worker, receivers, error, heard):
    def fail(**_: Any) -> None:
        raise error("not today")

    for name in RUNS:
        receivers.connect(name, fail)
    receivers.listen(*RUNS)

    worker.acks.succeed(worker.take(), "1")
    worker.wait_for_end()

    assert receivers.heard == heard
    assert len(worker.in_flight) == 0


def test_where_nobody_listens_nothing_is_built(worker, receivers):
    built: list[Delivery] = []
    worker.acks.signals._message_of = built.append

    worker.acks.succeed(worker.take(), "1")
    worker.acks.fail(worker.take(), broken())
    worker.acks.give_back(worker.take())
    worker.take(MESSAGE | {"headers": HEADERS | {"eta": "tomorrow"}})
    for _ in range(4):
        worker.wait_for_end()

    assert not worker.acks.signals.wanted
    assert built == []
