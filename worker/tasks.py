"""The three tasks: from a message's arguments to the pipeline, and from futures to a result.

A task's thread only waits; the work is done by the pipeline's threads and the batch runners.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Any, TypeVar

from celery import Task, states
from celery.exceptions import Reject
from pydantic_core import to_json

from clip_worker.contract import (
    CLASSIFY,
    CLASSIFY_MANY,
    ClassifyManyRequest,
    ClassifyRequest,
    parse,
)
from clip_worker.contract.search import SEARCH, SearchRequest
from clip_worker.contract.uri import validate_uri
from clip_worker.contract.webhooks import success_body
from clip_worker.errors import ClipWorkerError, ServiceError, TemporaryError
from worker.celery import app
from worker.delivery.policy import timeout_error
from worker.metrics.codes import OTHER, code_of
from worker.pipeline.error_translation import expired
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.message_outcomes import STOPPING, MessageOutcomes, is_stopping
from worker.runtime import state as runtime
from worker.runtime.batch_handler import image_tasks
from worker.runtime.job_builder import named_arguments, queue_s, read_request, tagging_request
from worker.runtime.search import AS_IT_IS
from worker.runtime.webhook_assembly import check_webhook, webhook_of
from worker.webhooks.post import error_body

Answer = TypeVar("Answer")

LIKE = ("an image",)  # label of an image whose embedding alone is asked for


class TaggingTask(Task):  # type: ignore[misc]  # Celery has no type information
    """Notes how a task ended, for its webhook and the metrics: its acknowledgement follows."""

    def after_return(self, status: str, retval: Any, task_id: str, *_: object) -> None:
        """Celery's hook after a task has run and its result is stored."""
        here = runtime.running()
        if here is None:
            return
        delivery = here.consumer.in_flight.get(_delivery_tag(self))
        self._count(here, status, retval)
        if delivery is None or not webhook_of(delivery):
            return
        if status == states.SUCCESS:
            delivery.event_body = success_body(task_id, to_json(retval).decode())
        elif status == states.FAILURE:
            delivery.event_body = error_body(task_id, retval)

    def _count(self, here: runtime.Runtime, status: str, retval: Any) -> None:
        queue = (self.request.delivery_info or {}).get("routing_key")
        known = queue if queue in here.consumer.queue_names else OTHER
        if status == states.SUCCESS:
            here.instruments.task_ended(known, self.name, "succeeded")
        elif status == states.FAILURE:
            here.instruments.task_ended(known, self.name, "failed", code_of(retval))


@app.task(name=CLASSIFY, base=TaggingTask, bind=True, throws=(ClipWorkerError,))
def classify(
    self: Task, image: object = None, labels: object = None, **options: object
) -> dict[str, Any]:
    """Tag one image; the arguments are those of `clip_worker.contract.ClassifyRequest`.

    Returns:
        A `Classification` as JSON.

    Raises:
        ClipWorkerError: One of its subclasses, with a stable `code`.
    """
    request = read_request(CLASSIFY, (image, labels), options)
    assert isinstance(request, ClassifyRequest), "clip.classify asks about one image"
    return _Task(self).result(request)


@app.task(name=CLASSIFY_MANY, base=TaggingTask, bind=True, throws=(ClipWorkerError,))
def classify_many(
    self: Task, images: object = None, labels: object = None, **options: object
) -> list[dict[str, Any]]:
    """Tag several images; the arguments are those of `clip_worker.contract.ClassifyManyRequest`.

    Returns:
        An `Outcome` as JSON for each image, in order: one that fails doesn't fail the others.

    Raises:
        ClipWorkerError: The question itself is wrong.
    """
    request = read_request(CLASSIFY_MANY, (images, labels), options)
    assert isinstance(request, ClassifyManyRequest), "clip.classify_many asks about several"
    return _Task(self).outcomes(request)


@app.task(name=SEARCH, base=TaggingTask, bind=True, throws=(ClipWorkerError,))
def search(self: Task, *args: object, **options: object) -> dict[str, Any]:
    """Find stored images; the arguments are those of `clip_worker.contract.search.SearchRequest`.

    Returns:
        A `SearchResult` as JSON.

    Raises:
        ClipWorkerError: One of its subclasses, with a stable `code`.
    """
    request = parse(SearchRequest, named_arguments(SEARCH, args, options))
    searcher = runtime.current().searcher
    if searcher is None:
        raise ServiceError(
            "The workers keep no embeddings, so there is nothing to search; set "
            "CLIP_WORKER_EMBEDDING_STORE on all workers of this queue.",
            "SEARCH_DISABLED",
        )
    if request.text is not None:
        feature = searcher.text_feature(request.text)
    else:
        asked = TaggingRequest(LIKE, AS_IT_IS, 1, deadline=request.deadline, return_embedding=True)
        feature = _Task(self).image(str(request.image), asked)["embedding"]
    if request.deadline is not None and (now := time.time()) > request.deadline:
        raise expired(request.deadline, now, "the search")
    return searcher.nearest(feature, request.k)


class _Result:
    """Owner of one image task: a future of its result."""

    def __init__(self) -> None:
        self.future: Future[dict[str, Any]] = Future()

    def finished(self, tasks: Sequence[ImageTask]) -> None:
        for task in tasks:
            if task.error is None:
                self.future.set_result(task.result or {})
            else:
                self.future.set_exception(task.error)


class _Task:
    """One message that Celery runs: its thread waits for the pipeline.

    The time limit counts from the message's last progress. On kombu's transport it counts from the
    beginning, since there the message comes again after a fixed time.
    """

    def __init__(self, task: Task) -> None:
        self._here = runtime.current()
        self._began = time.monotonic()
        self._delivery = self._here.consumer.in_flight.get(_delivery_tag(task))
        if self._delivery:
            self._delivery.progress()  # it may have waited for an ETA
        self._queue_s = queue_s(task.request.headers or {})

    def result(self, asked: ClassifyRequest) -> dict[str, Any]:
        check_webhook(asked.webhook, self._delivery, self._here.settings)
        return self.image(validate_uri(asked.image), tagging_request(asked))

    def image(self, uri: str, asked: TaggingRequest) -> dict[str, Any]:
        owner = _Result()
        task = ImageTask(uri, asked, owner, self._delivery, queue_s=self._queue_s)
        self._here.pipeline.submit([task])
        try:
            return self._wait(owner.future)
        except FutureTimeoutError as error:
            raise timeout_error(self._here.settings.task_timeout_s) from error

    def outcomes(self, asked: ClassifyManyRequest) -> list[dict[str, Any]]:
        check_webhook(asked.webhook, self._delivery, self._here.settings)
        done: Future[list[dict[str, Any]]] = Future()
        outcomes = MessageOutcomes(
            self._here.pipeline,
            window=lambda: self._here.consumer.window,
            advanced=self._advance,
            ended=done.set_result,
            stopped=partial(_give_up, done),
        )
        outcomes.start(image_tasks(asked, outcomes, self._delivery, self._queue_s))
        try:
            return self._wait(done)
        except FutureTimeoutError:
            outcomes.time_out(timeout_error(self._here.settings.task_timeout_s))
            return done.result()

    def _advance(self) -> None:
        if self._delivery:
            self._here.consumer.advance(self._delivery)

    def _wait(self, future: Future[Answer]) -> Answer:
        """What the future gives.

        Raises:
            FutureTimeoutError: There was no progress for too long.
        """
        while True:
            try:
                return future.result(self._left_s())
            except FutureTimeoutError:
                if not self._left_s():  # else there was progress meanwhile
                    raise
            except TemporaryError as error:
                if not is_stopping(error):
                    raise
                # Celery's way to let another worker have it; the queue path gave it back before.
                raise Reject(error, requeue=True) from error

    def _left_s(self) -> float:
        since = self._delivery.progressed_at if self._delivery else self._began
        return max(0.0, since + self._here.settings.task_timeout_s - time.monotonic())


def _give_up(done: Future[list[dict[str, Any]]]) -> None:
    with contextlib.suppress(InvalidStateError):  # called once for each image
        done.set_exception(TemporaryError("The worker is stopping.", STOPPING))


def _delivery_tag(task: Task) -> str:
    """The tag of the delivery that runs this task; an id may belong to two, after a retry."""
    return str((task.request.properties or {}).get("delivery_tag", ""))
