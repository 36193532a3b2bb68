"""The batch path's handler: from deliveries to jobs of the pipeline, from answers to results."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from worker.contract import (
    CLASSIFY,
    Classification,
    ClassifyManyRequest,
    Outcome,
    Question,
    parse,
)
from worker.contract.request_cache import Questions
from worker.errors import ClipWorkerError, ServiceError
from worker.pipeline.many import Many, is_stopping, job_or_error
from worker.quoting import redacted
from worker.runtime.job_builder import Asked, named_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.delivery.in_flight import Delivery
    from worker.delivery.queue_consumer import QueueConsumer
    from worker.pipeline.pipeline import Pipeline

logger = logging.getLogger(__name__)


class Admission:
    """Begins plain tasks and ends them.

    Args:
        path: Where deliveries come from and go to.
        pipeline: Does the work.
    """

    def __init__(self, consumer: QueueConsumer, pipeline: Pipeline) -> None:
        self._consumer = consumer
        self._pipeline = pipeline
        self._questions: Questions[Question] = Questions(lambda request: request)

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Begin with each; a wrong one fails alone."""
        for delivery in deliveries:
            try:
                self._begin(delivery)
            except ClipWorkerError as error:
                self._consumer.fail(delivery, error)
            except Exception as error:  # noqa: BLE001  # a bug must cost one task, not the worker
                reason = redacted(str(error))
                told = ServiceError(f"The worker failed with {type(error).__name__}: {reason}.")
                self._consumer.fail(delivery, told)

    def resting(self) -> int:
        """Pictures that wait for another attempt to fetch them."""
        return self._pipeline.resting

    def preparation_s(self) -> float:
        """How long a picture takes to the model's door."""
        return self._pipeline.preparation_s

    def abandon(self) -> None:
        """End all futures; their deliveries have ended."""
        self._pipeline.abandon()

    def _begin(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        args, kwargs, _ = delivery.arguments
        given = named_arguments(envelope.task, args, kwargs)
        if envelope.task == CLASSIFY:
            question, image = self._questions.read(given)
            job = Asked(question, envelope.headers, ticket=delivery).job_about(image)
            self._pipeline.submit(job).add_done_callback(partial(self._end, delivery))
        else:
            request = parse(ClassifyManyRequest, given)
            asked = Asked(request, envelope.headers, ticket=delivery)
            many = Many(
                [job_or_error(asked, image) for image in request.images],
                self._pipeline,
                most=lambda: self._consumer.window,
                advanced=partial(self._consumer.advance, delivery),
                ended=partial(self._succeed_with_all, delivery),
                given_up=partial(self._consumer.give_back, delivery),
            )
            delivery.time_out = partial(_time_out, delivery, many)
            many.send()

    def _end(self, delivery: Delivery, future: Future[Classification]) -> None:
        error = future.exception()
        if error is None:
            self._succeed(delivery, future.result())
        elif is_stopping(error):
            self._consumer.give_back(delivery)
        else:
            self._consumer.fail(delivery, error)

    def _succeed(self, delivery: Delivery, answer: Classification) -> None:
        try:
            told = answer.model_dump_json()
        except ValueError as error:  # as in the pipeline: whatever it is, somebody waits
            self._consumer.fail(delivery, ServiceError(f"The answer can't be written: {error}."))
        else:
            self._consumer.succeed(delivery, told)

    def _succeed_with_all(self, delivery: Delivery, outcomes: Sequence[Outcome]) -> None:
        told = ",".join(outcome.model_dump_json() for outcome in outcomes)
        self._consumer.succeed(delivery, f"[{told}]")


def _time_out(delivery: Delivery, many: Many, error: ClipWorkerError) -> None:
    if missing := many.time_out(error):
        logger.warning("Task %s[%s] ends without %d of its pictures.", *delivery.name, missing)
