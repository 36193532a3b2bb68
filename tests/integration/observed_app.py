"""clip-worker's application as its users watch it: OpenTelemetry, Sentry, an errback of their own.

What is seen goes to Redis: a list each of spans, of Sentry's events and of what errbacks got.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import sentry_sdk
from celery.signals import task_failure
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from redis import Redis
from sentry_sdk.transport import Transport

from worker import app

SPANS, EVENTS, ERRBACKS = "seen:spans", "seen:events", "seen:errbacks"
_redis = Redis.from_url(os.environ["CLIP_WORKER_REDIS_URL"])


class Spans(SpanExporter):
    """Keeps spans that have ended."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            _redis.rpush(SPANS, span.to_json())
        return SpanExportResult.SUCCESS


class Events(Transport):
    """Keeps what would be sent to Sentry."""

    def capture_envelope(self, envelope: Any) -> None:
        if event := envelope.get_event():
            _redis.rpush(EVENTS, json.dumps(event, default=str))


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Spans()))
CeleryInstrumentor().instrument(tracer_provider=provider)
sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=Events, auto_session_tracking=False)


@task_failure.connect
def report(sender, task_id, exception, **_):
    with sentry_sdk.new_scope() as scope:
        scope.set_tag("celery_task_id", task_id)
        scope.set_transaction_name(sender.name)
        sentry_sdk.capture_exception(exception)


@app.task(name="observed.on_error")
def on_error(request, exc, traceback):
    """An errback that is registered here: it is called in this process, not as a task."""
    _redis.rpush(ERRBACKS, json.dumps([request.id, type(exc).__name__, str(exc), exc.code]))


__all__ = ["app"]
