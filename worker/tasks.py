"""The two tasks: from a message's arguments to the pipeline, and from futures to a result.

A task's thread only waits; the work is done by the pipeline's threads and the batch runners.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from celery import Task
from celery.exceptions import Reject

from worker import runtime
from worker.admission import STOPPING
from worker.asked import Asked, read_request
from worker.celery import app
from worker.contract import (
    CLASSIFY,
    CLASSIFY_MANY,
    Classification,
    ClassifyManyRequest,
    ClassifyRequest,
    Failure,
    Outcome,
    Question,
)
from worker.errors import ClipWorkerError, TemporaryError
from worker.queue_path import timeout_error


@app.task(name=CLASSIFY, bind=True, throws=(ClipWorkerError,))
def classify(
    self: Task, image: object = None, labels: object = None, **options: object
) -> dict[str, Any]:
    """Tag one picture; the arguments are those of `worker.contract.ClassifyRequest`.

    Returns:
        A `Classification` as JSON.

    Raises:
        ClipWorkerError: One of its subclasses, with a stable `code`.
    """
    request = read_request(CLASSIFY, (image, labels), options)
    assert isinstance(request, ClassifyRequest), "clip.classify asks about one picture"
    asked = _Task(self, request)
    return asked.wait(asked.submit(request.image)).model_dump(mode="json")


@app.task(name=CLASSIFY_MANY, bind=True, throws=(ClipWorkerError,))
def classify_many(
    self: Task, images: object = None, labels: object = None, **options: object
) -> list[dict[str, Any]]:
    """Tag several pictures; the arguments are those of `worker.contract.ClassifyManyRequest`.

    Returns:
        An `Outcome` as JSON for each picture, in order: one that fails doesn't fail the others.

    Raises:
        ClipWorkerError: The question itself is wrong.
    """
    request = read_request(CLASSIFY_MANY, (images, labels), options)
    assert isinstance(request, ClassifyManyRequest), "clip.classify_many asks about several"
    asked = _Task(self, request)
    futures = [asked.submit(image) for image in request.images]
    return [asked.outcome(future).model_dump(mode="json") for future in futures]


class _Task:
    """One message that Celery runs: its thread waits for the pipeline."""

    def __init__(self, task: Task, request: Question) -> None:
        self._runtime = runtime.current()
        self._end = time.monotonic() + self._runtime.settings.task_timeout_s
        self._asked = Asked(
            request,
            task.request.headers or {},
            ticket=self._runtime.path.held.get(_delivery_tag(task)),
        )

    def submit(self, image: str) -> Future[Classification]:
        try:
            return self._runtime.pipeline.submit(self._asked.job(image))
        except ClipWorkerError as error:
            failed: Future[Classification] = Future()
            failed.set_exception(error)
            return failed

    def wait(self, future: Future[Classification]) -> Classification:
        try:
            return future.result(max(0.0, self._end - time.monotonic()))
        except FutureTimeoutError as error:
            raise timeout_error(self._runtime.settings) from error
        except TemporaryError as error:
            if error.code != STOPPING:
                raise
            # Celery's way to let another worker have it; the queue path has given it back before.
            raise Reject(error, requeue=True) from error

    def outcome(self, future: Future[Classification]) -> Outcome:
        try:
            return Outcome(status="ok", result=self.wait(future))
        except ClipWorkerError as error:
            return Outcome(status="error", error=Failure.of(error))


def _delivery_tag(task: Task) -> str:
    """Names the message in hand; an id may be that of two, after a retry."""
    return str((task.request.properties or {}).get("delivery_tag", ""))
