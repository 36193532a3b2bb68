"""A span of each traced task, and of its stages, made when the task has ended.

The pipeline takes the time of every stage anyway, so nothing is done for tracing before an image
has ended, and nothing at all for a task whose producer has decided not to record its trace.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from clip_worker.contract import SENT_AT_HEADER
from worker.tracing.message_trace import MessageTrace
from worker.tracing.parent import carried, is_unsampled
from worker.tracing.stages import stages_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext

    from worker.delivery.delivery import Delivery
    from worker.pipeline.image_task import ImageTask

logger = logging.getLogger(__name__)

INSTRUMENTATION = "clip-worker"
MOST_BATCHES = 256  # whose spans are remembered, to link to
LONGEST_QUEUE_S = 7 * 86_400.0  # a producer's clock may be anything


class Traces:
    """Makes spans. Threads may share it.

    Args:
        provider: Samples and exports them.
        now: Unix time in seconds.
        clock: The pipeline's clock.
    """

    def __init__(
        self,
        provider: TracerProvider,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        from opentelemetry.sdk.trace.sampling import ParentBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.provider = provider
        self._tracer = provider.get_tracer(INSTRUMENTATION)
        self._follows_producers = isinstance(provider.sampler, ParentBased)
        self._propagator = TraceContextTextMapPropagator()
        self._batches: OrderedDict[int, SpanContext] = OrderedDict()
        self._now = now
        self._clock = clock

    def images_ended(self, tasks: Sequence[ImageTask]) -> None:
        """Keep the stages of images whose messages are traced; the messages have not ended."""
        try:
            for task in tasks:
                delivery: Any = task.message
                if delivery is not None and not delivery.ended and (trace := self._of(delivery)):
                    trace.add(task, stages_of(task, self._now(), self._clock()))
        except Exception:  # no task may suffer for want of its trace
            logger.exception("Images could not be traced")

    def messages_ended(self, deliveries: Sequence[Delivery]) -> None:
        """Make the spans of messages whose end Redis has."""
        try:
            for delivery in deliveries:
                if trace := self._of(delivery):
                    delivery.trace = None
                    trace.end(delivery, self._now(), self._batches)
            while len(self._batches) > MOST_BATCHES:
                self._batches.popitem(last=False)
        except Exception:  # likewise
            logger.exception("Tasks could not be traced")

    def _of(self, delivery: Delivery) -> MessageTrace | None:
        """The trace of a message; None if it is not recorded."""
        if delivery.trace is None:
            delivery.trace = self._begun(delivery) or False
        return delivery.trace or None

    def _begun(self, delivery: Delivery) -> MessageTrace | None:
        headers = delivery.envelope.headers
        if self._follows_producers and is_unsampled(headers):
            return None
        taken = self._now() - max(0.0, time.monotonic() - delivery.taken_at)
        trace = MessageTrace(
            self._tracer, self._parent(carried(headers)), delivery, _sent(headers, taken), taken
        )
        return trace if trace.span.is_recording() else None

    def _parent(self, carrier: Mapping[str, str]) -> Context:
        from opentelemetry.context import Context

        return self._propagator.extract(carrier, context=Context())


def _sent(headers: Mapping[str, Any], taken: float) -> float:
    """When a message was sent, by its producer; when it was taken, if that is not known."""
    sent = headers.get(SENT_AT_HEADER)
    if not isinstance(sent, int | float) or not taken - LONGEST_QUEUE_S < sent < taken:
        return taken
    return float(sent)
