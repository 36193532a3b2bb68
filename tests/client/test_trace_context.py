"""What a client sends of the span that is active, and the span of its wait."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from clip_worker.contract.message_writer import Arguments, MessageWriter
from clip_worker.contract.trace_context import current_span, trace_headers, waiting_span

ARGUMENTS = Arguments("{}", "{}")


@pytest.fixture
def exporter(monkeypatch):
    """Of the process's tracer provider."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def headers() -> dict[str, object]:
    message = json.loads(MessageWriter("clip").write("some-id", "clip.classify", ARGUMENTS))
    found: dict[str, object] = message["headers"]
    return found


def test_a_message_carries_the_active_span(exporter) -> None:
    with trace.get_tracer("app").start_as_current_span("request") as span:
        found = headers()
    context = span.get_span_context()
    expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    assert found["traceparent"] == expected
    assert "tracestate" not in found


def test_the_state_of_the_trace_is_carried_whatever_is_in_it() -> None:
    context = SpanContext(1, 2, is_remote=False, trace_state=TraceState([("vendor", 'a"b')]))
    with trace.use_span(NonRecordingSpan(context)):
        found = headers()
    assert found["traceparent"] == f"00-{1:032x}-{2:016x}-00"
    assert found["tracestate"] == 'vendor=a"b'


def test_an_unsampled_span_is_carried_as_unsampled() -> None:
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("app")
    with tracer.start_as_current_span("request"):
        assert int(trace_headers()["traceparent"][-2:], 16) & TraceFlags.SAMPLED == 0


def test_without_an_active_span_nothing_is_added() -> None:
    assert trace_headers() == {}
    assert not {"traceparent", "tracestate"} & set(headers())


def test_the_client_does_without_opentelemetry() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import clip_worker.client.client\n"
        "from clip_worker.contract.trace_context import trace_headers\n"
        "assert trace_headers() == {}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_wait_is_a_span_in_the_trace_that_the_task_was_sent_in(exporter) -> None:
    with trace.get_tracer("app").start_as_current_span("request") as sending:
        sent_in = current_span()
    with waiting_span(sent_in, "some-id"):
        pass
    wait = exporter.get_finished_spans()[-1]
    assert wait.name == "clip-worker wait"
    assert wait.parent.span_id == sending.get_span_context().span_id
    assert wait.attributes["messaging.message.id"] == "some-id"


def test_the_wait_is_a_child_of_a_span_of_the_same_trace(exporter) -> None:
    with trace.get_tracer("app").start_as_current_span("request"):
        sent_in = current_span()
        with (
            trace.get_tracer("app").start_as_current_span("render") as render,
            waiting_span(sent_in, "some-id"),
        ):
            pass
    wait = exporter.get_finished_spans()[0]
    assert wait.parent.span_id == render.get_span_context().span_id


def test_a_task_that_was_sent_outside_any_span_has_none(exporter) -> None:
    with waiting_span(None, "some-id"):
        pass
    assert exporter.get_finished_spans() == ()


def test_flags_beyond_the_first_are_carried() -> None:
    context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(0x03))
    with trace.use_span(NonRecordingSpan(context)):
        assert trace_headers()["traceparent"].endswith("-03")
