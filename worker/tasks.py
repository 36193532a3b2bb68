"""The two tasks: from a message's arguments to the pipeline, and from futures to a result.

A task's thread only waits; the work is done by the pipeline's threads and the batch runners.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from celery import Task

from worker import runtime
from worker.celery import app
from worker.contract import (
    CLASSIFY,
    CLASSIFY_MANY,
    SENT_AT_HEADER,
    Classification,
    ClassifyManyRequest,
    ClassifyRequest,
    Failure,
    Outcome,
    Question,
    parse,
)
from worker.ensembles import templates_of
from worker.errors import ClipWorkerError, TemporaryError
from worker.pipeline import Job
from worker.sources import validate_uri


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
    request = parse(ClassifyRequest, _given(image=image, labels=labels, **options))
    asked = _Asked(self, request)
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
    request = parse(ClassifyManyRequest, _given(images=images, labels=labels, **options))
    asked = _Asked(self, request)
    futures = [asked.submit(image) for image in request.images]
    return [asked.outcome(future).model_dump(mode="json") for future in futures]


class _Asked:
    """One message's question, whose pictures share their labels and the time they may take."""

    def __init__(self, task: Task, request: Question) -> None:
        self._runtime = runtime.current()
        self._request = request
        self._labels = request.labels or self._runtime.label_sets.get(str(request.label_set))
        self._templates = templates_of(request)
        self._queue_s = _queue_s(task.request.headers or {})
        self._end = time.monotonic() + self._runtime.settings.task_timeout_s

    def submit(self, image: str) -> Future[Classification]:
        request = self._request
        try:
            job = Job(
                image=validate_uri(image),
                labels=self._labels,
                templates=self._templates,
                k=request.k,
                threshold=request.threshold or 0.0,
                deadline=request.deadline,
                return_embedding=request.return_embedding,
                queue_s=self._queue_s,
            )
        except ClipWorkerError as error:
            failed: Future[Classification] = Future()
            failed.set_exception(error)
            return failed
        return self._runtime.pipeline.submit(job)

    def wait(self, future: Future[Classification]) -> Classification:
        try:
            return future.result(max(0.0, self._end - time.monotonic()))
        except FutureTimeoutError as error:
            timeout_s = self._runtime.settings.task_timeout_s
            raise TemporaryError(
                f"The task took longer than {timeout_s:g} s, the most this worker gives it "
                "(CLIP_WORKER_TASK_TIMEOUT_S).",
                "TASK_TIMEOUT",
            ) from error

    def outcome(self, future: Future[Classification]) -> Outcome:
        try:
            return Outcome(status="ok", result=self.wait(future))
        except ClipWorkerError as error:
            return Outcome(status="error", error=Failure.of(error))


def _given(**arguments: object) -> dict[str, object]:
    """JSON's null says as much as leaving the argument out."""
    return {name: value for name, value in arguments.items() if value is not None}


def _queue_s(headers: Mapping[str, Any]) -> float | None:
    """Seconds since the producer sent the message, by both hosts' clocks, if it said when."""
    sent_at = headers.get(SENT_AT_HEADER)
    return max(0.0, time.time() - sent_at) if isinstance(sent_at, int | float) else None
