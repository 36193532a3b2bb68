"""From deliveries to image tasks, and from their ends to results; plain tasks only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic_core import to_json

from clip_worker.contract import CLASSIFY, ClassifyManyRequest, parse
from clip_worker.contract.request_cache import RequestCache
from clip_worker.contract.uri import validate_uri
from clip_worker.errors import ClipWorkerError, ServiceError
from clip_worker.quoting import redacted
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.message_outcomes import MessageOutcomes, is_stopping
from worker.runtime.job_builder import named_arguments, queue_s, tagging_request

if TYPE_CHECKING:
    from worker.delivery.delivery import Delivery
    from worker.delivery.queue_consumer import QueueConsumer
    from worker.pipeline.pipeline import Pipeline
    from worker.preparation import PreparationPool

logger = logging.getLogger(__name__)


class BatchHandler:
    """Begins plain tasks and ends them; owner of the image tasks of `clip.classify`.

    Args:
        consumer: Where deliveries come from and go to.
        pipeline: Does the work.
        pool: Prepares the images of the pipeline.
        check_webhook: Raises an error of `clip_worker.errors` for a request with a webhook that
            would not be posted to.
    """

    def __init__(
        self,
        consumer: QueueConsumer,
        pipeline: Pipeline,
        pool: PreparationPool,
        check_webhook: Callable[[str | None, Delivery], None] = lambda _webhook, _delivery: None,
    ) -> None:
        self._consumer = consumer
        self._acks = consumer.acks
        self._pipeline = pipeline
        self._pool = pool
        self._check_webhook = check_webhook
        self._requests: RequestCache[TaggingRequest] = RequestCache(tagging_request)

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Begin with each; an invalid one fails alone."""
        tasks = [task for delivery in deliveries if (task := self._begin(delivery))]
        if tasks:
            self._pipeline.submit(tasks)

    def resting(self) -> int:
        """Images that wait for another attempt to fetch them."""
        return self._pipeline.resting

    def is_full(self) -> bool:
        """Whether no further image could be fetched: the memory for files is taken."""
        return self._pool.is_full

    def preparation_s(self) -> float:
        """How long an image takes until the model may have it."""
        return self._pipeline.preparation_s

    def abandon(self) -> None:
        """End all image tasks; their deliveries have ended."""
        self._pipeline.abandon()

    def finished(self, tasks: Sequence[ImageTask]) -> None:
        """End the deliveries of `clip.classify`."""
        results: list[tuple[Delivery, str]] = []
        for task in tasks:
            delivery: Delivery = task.message  # type: ignore[assignment]  # ours: `_one` made it
            if task.error is None:
                results.append((delivery, to_json(task.result).decode()))
            elif is_stopping(task.error):
                self._acks.give_back(delivery)
            else:
                self._acks.fail(delivery, task.error)
        if results:
            self._acks.succeed_all(results)

    def _begin(self, delivery: Delivery) -> ImageTask | None:
        try:
            args, kwargs, _ = delivery.arguments
            given = named_arguments(delivery.envelope.task, args, kwargs)
            waited_s = queue_s(delivery.envelope.headers)
            if delivery.envelope.task == CLASSIFY:
                request, image, webhook = self._requests.read(given)
                self._check_webhook(webhook, delivery)
                return ImageTask(image, request, self, delivery, queue_s=waited_s)
            many = parse(ClassifyManyRequest, given)
            self._check_webhook(many.webhook, delivery)
            self._begin_many(delivery, many, waited_s)
        except ClipWorkerError as error:
            self._acks.fail(delivery, error)
        except Exception as error:  # noqa: BLE001  # a bug must cost one task, not the worker
            kind, reason = type(error).__name__, redacted(str(error))
            self._acks.fail(delivery, ServiceError(f"The worker failed with {kind}: {reason}."))
        return None

    def _begin_many(
        self, delivery: Delivery, request: ClassifyManyRequest, waited_s: float | None
    ) -> None:
        outcomes = MessageOutcomes(
            self._pipeline,
            window=lambda: self._consumer.window,
            advanced=partial(self._consumer.advance, delivery),
            ended=lambda all_: self._acks.succeed(delivery, to_json(all_).decode()),
            stopped=partial(self._acks.give_back, delivery),
        )
        delivery.time_out = partial(_time_out, delivery, outcomes.time_out)
        outcomes.start(image_tasks(request, outcomes, delivery, waited_s))


def image_tasks(
    request: ClassifyManyRequest,
    owner: MessageOutcomes,
    message: Delivery | None,
    waited_s: float | None,
) -> list[ImageTask | ClipWorkerError]:
    """One task an image, or what is wrong with its URI.

    Raises:
        InvalidRequestError: The ensemble is not known.
    """
    tagging = tagging_request(request)
    tasks: list[ImageTask | ClipWorkerError] = []
    for position, image in enumerate(request.images):
        try:
            uri = validate_uri(image)
        except ClipWorkerError as error:
            tasks.append(error)
        else:
            tasks.append(ImageTask(uri, tagging, owner, message, position, waited_s))
    return tasks


def _time_out(
    delivery: Delivery,
    time_out: Callable[[ClipWorkerError], int],
    error: ClipWorkerError,
) -> None:
    if missing := time_out(error):
        fields = delivery.log_fields(error.code)
        logger.warning(
            "Task %s[%s] ends without %d of its images.", *delivery.name, missing, extra=fields
        )
