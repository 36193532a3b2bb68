"""The spans of one message: its task, and below it the stages, or a span an image."""

from __future__ import annotations

import threading
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from worker.tracing.stages import Stage

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext, Tracer

    from worker.delivery.delivery import Delivery
    from worker.pipeline.image_task import ImageTask

MOST_IMAGES = 1  # of a message, for each of whose stages there is a span of its own
SUCCEEDED = "succeeded"


class MessageTrace:
    """A task's span, which has begun, and what is known of its images.

    Args:
        tracer: Begins spans.
        parent: The producer's context; empty without one.
        delivery: The message.
        sent: Unix time in seconds at which it was sent.
        taken: Unix time in seconds at which this worker took it.

    Attributes:
        span: The task's; it records nothing if it is not sampled.
    """

    def __init__(
        self, tracer: Tracer, parent: Context, delivery: Delivery, sent: float, taken: float
    ) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        self.span = tracer.start_span(
            f"process {delivery.envelope.task}"[:128],
            parent,
            SpanKind.CONSUMER,
            attributes={
                "messaging.system": "redis",
                "messaging.operation.type": "process",
                "messaging.destination.name": delivery.queue.name,
                "messaging.message.id": delivery.id,
            },
            start_time=_ns(sent),
        )
        self._tracer = tracer
        self._context = set_span_in_context(self.span)
        self._queue = Stage("queue", sent, taken)
        self._images: list[tuple[ImageTask, Sequence[Stage]]] = []
        self._lock = threading.Lock()

    def add(self, task: ImageTask, stages: Sequence[Stage]) -> None:
        """Keep the stages of an image that has ended."""
        with self._lock:
            self._images.append((task, stages))

    def end(
        self, delivery: Delivery, ended: float, batches: MutableMapping[int, SpanContext]
    ) -> None:
        """End the task's span, and make those below it.

        Args:
            delivery: The message, with its outcome.
            ended: Unix time in seconds at which Redis had its end.
            batches: The spans of batches so far; new ones are added.
        """
        with self._lock:
            images = self._images
        self._span(self._queue, self._context)
        for task, stages in images:
            self._image(task, stages, batches, is_single=len(images) <= MOST_IMAGES)
        done = max([stages[-1].ended for _, stages in images if stages], default=ended)
        self._span(Stage("store", min(done, ended), ended), self._context)
        self._end_task(delivery, images, ended)

    def _end_task(
        self, delivery: Delivery, images: Sequence[tuple[ImageTask, Any]], ended: float
    ) -> None:
        from opentelemetry.trace import StatusCode

        # Celery counts what it runs itself: of that the images tell.
        errors = [task.error for task, _ in images if task.error is not None]
        failed = bool(errors) and len(images) == 1
        outcome = delivery.outcome or ("failed" if failed else SUCCEEDED)
        code = delivery.code or (errors[0].code if failed else "")
        self.span.set_attribute("clip_worker.outcome", outcome)
        if images:
            self.span.set_attribute("clip_worker.images", len(images))
        if outcome not in (SUCCEEDED, "requeued"):
            self.span.set_attribute("error.type", code or outcome)
            self.span.set_status(StatusCode.ERROR, code or outcome)
        self.span.end(_ns(ended))

    def _image(
        self,
        task: ImageTask,
        stages: Sequence[Stage],
        batches: MutableMapping[int, SpanContext],
        *,
        is_single: bool,
    ) -> None:
        if not stages:
            return
        batch = self._batch(task, stages, batches)
        if is_single:
            for stage in stages:
                linked = batch if stage.name in ("batch_wait", "forward") else None
                self._span(stage, self._context, linked)
        else:
            whole = Stage("image", stages[0].began, stages[-1].ended)
            self._span(whole, self._context, batch, _image_attributes(task, stages))

    def _batch(
        self,
        task: ImageTask,
        stages: Sequence[Stage],
        batches: MutableMapping[int, SpanContext],
    ) -> SpanContext | None:
        """The span of the batch that an image was in; the first traced image of it makes it."""
        forward = next((stage for stage in stages if stage.name == "forward"), None)
        if forward is None or task.result is None or "embedding_from" in task.result:
            return None
        timing = task.result["timing"]
        key = round((task.prepared_s + timing["batch_wait"]) * 1e6)  # it began at this microsecond
        if key not in batches:
            size = {"clip_worker.batch_images": timing["batch_size"]}
            batch = Stage("batch", forward.began, forward.ended)
            batches[key] = self._span(batch, self._context, attributes=size)
        return batches[key]

    def _span(
        self,
        stage: Stage,
        parent: Context,
        linked: SpanContext | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> SpanContext:
        from opentelemetry.trace import Link

        links = [Link(linked)] if linked is not None else []
        span = self._tracer.start_span(
            stage.name, parent, attributes=attributes, links=links, start_time=_ns(stage.began)
        )
        span.end(_ns(max(stage.began, stage.ended)))
        return span.get_span_context()


def _image_attributes(task: ImageTask, stages: Sequence[Stage]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        f"clip_worker.{stage.name}_s": stage.ended - stage.began for stage in stages
    }
    attributes["clip_worker.position"] = task.position
    if task.error is not None:
        attributes["error.type"] = task.error.code
    return attributes


def _ns(seconds: float) -> int:
    """Unix time in nanoseconds, from seconds."""
    return int(seconds * 1e9)
