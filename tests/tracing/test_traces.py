"""The spans of tasks, with the SDK's own in-memory exporter."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from clip_worker.contract import SENT_AT_HEADER as SENT
from clip_worker.contract.message_reader import Envelope
from clip_worker.errors import ImageUnavailableError
from worker.delivery.delivery import Delivery
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.tracing.traces import Traces

NOW, CLOCK = 1_800_000_000.0, 5000.0
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
REQUEST = TaggingRequest(labels=("a",), templates=("{}",), k=1)


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def traces(provider):
    return Traces(provider, now=lambda: NOW, clock=lambda: CLOCK)


@pytest.fixture
def spans(exporter):
    """The spans that were made, by name."""

    def spans() -> dict[str, Any]:
        return {span.name: span for span in exporter.get_finished_spans()}

    return spans


def delivery(headers: dict[str, Any], task_id: str = "some-id", **fields: Any) -> Delivery:
    lease: Any = SimpleNamespace(queue=SimpleNamespace(name="clip"))
    envelope = Envelope(task_id, "clip.classify", headers)
    return Delivery(lease, "tag", (), b"", envelope, **fields)


def image(message: Delivery, **fields: Any) -> ImageTask:
    """One that was prepared a second ago, waited 0.2 s for its batch and ran for 0.5 s."""
    task = ImageTask("data:,", REQUEST, SimpleNamespace(finished=None), message, **fields)  # type: ignore[arg-type]
    task.labels_s, task.fetch_s, task.decode_s, task.prepared_s = 0.1, 2.0, 0.5, CLOCK - 1.0
    timing = {"batch_wait": 0.2, "forward": 0.5, "score": 0.1, "batch_size": 3}
    task.result = {"timing": timing}
    return task


def ended(
    traces: Traces, message: Delivery, *images: ImageTask, outcome: str = "succeeded"
) -> None:
    traces.images_ended(images)
    message.ended, message.outcome = True, outcome
    traces.messages_ended([message])


def seconds(span: Any) -> tuple[float, float]:
    """Begin and end, in seconds from now."""
    return tuple(round(time_ns / 1e9 - NOW, 3) for time_ns in (span.start_time, span.end_time))


def test_a_task_is_a_span_below_its_producers_with_its_stages_below_it(traces, spans) -> None:
    # given
    message = delivery(SAMPLED | {SENT: NOW - 10}, taken_at=time.monotonic() - 4)
    # when
    ended(traces, message, image(message))
    # then
    found = spans()
    task = found.pop("process clip.classify")
    assert f"{task.context.trace_id:032x}" == TRACE
    assert f"{task.parent.span_id:016x}" == PARENT
    assert seconds(task) == (-10, 0)
    assert task.attributes["messaging.message.id"] == "some-id"
    assert task.attributes["messaging.destination.name"] == "clip"
    assert {span.parent.span_id for span in found.values()} == {task.context.span_id}
    queue = found.pop("queue")
    assert seconds(queue) == (-10, pytest.approx(-4, abs=0.5))
    assert {name: seconds(span) for name, span in found.items()} == {
        "labels": (-3.6, -3.5),
        "fetch": (-3.5, -1.5),
        "decode": (-1.5, -1.0),
        "batch_wait": (-1.0, -0.8),
        "batch": (-0.8, -0.3),
        "forward": (-0.8, -0.3),
        "score": (-0.1, 0.0),
        "store": (0.0, 0.0),
    }


def test_tasks_of_one_batch_link_to_its_span(traces, exporter) -> None:
    messages = [delivery({}, "one"), delivery({}, "two")]
    for message in messages:
        ended(traces, message, image(message))
    made = exporter.get_finished_spans()
    [batch] = [span for span in made if span.name == "batch"]
    assert batch.attributes["clip_worker.batch_images"] == 3
    forwards = [span for span in made if span.name == "forward"]
    assert len({span.context.trace_id for span in forwards}) == 2
    assert {span.links[0].context.span_id for span in forwards} == {batch.context.span_id}


def test_a_message_of_several_images_has_a_span_an_image(traces, exporter) -> None:
    message = delivery({})
    failed = image(message, position=1)
    failed.result, failed.error = None, ImageUnavailableError("gone", "FETCH_NOT_FOUND")
    ended(traces, message, image(message), failed)
    images = [span for span in exporter.get_finished_spans() if span.name == "image"]
    assert [span.attributes["clip_worker.position"] for span in images] == [0, 1]
    assert images[0].attributes["clip_worker.fetch_s"] == pytest.approx(2.0, abs=1e-3)
    assert images[1].attributes["error.type"] == "FETCH_NOT_FOUND"


def test_a_failed_task_has_its_code_and_no_message_that_may_hold_secrets(traces, spans) -> None:
    message = delivery({})
    task = image(message)
    task.result, task.prepared_s, task.since_s = None, 0.0, CLOCK - 2.0
    task.error = ImageUnavailableError("'https://me:secret@host' is gone", "FETCH_NOT_FOUND")
    message.code = "FETCH_NOT_FOUND"
    ended(traces, message, task, outcome="failed")
    span = spans()["process clip.classify"]
    assert span.attributes["error.type"] == "FETCH_NOT_FOUND"
    assert not span.status.is_ok
    assert "secret" not in span.to_json()
    assert seconds(spans()["fetch"]) == (-2, 0)


def test_what_never_reached_the_pipeline_is_a_span_too(traces, spans) -> None:
    message = delivery({})
    message.code = "BAD_REQUEST"
    ended(traces, message, outcome="failed")
    assert spans()["process clip.classify"].attributes["error.type"] == "BAD_REQUEST"


def test_an_unsampled_trace_is_not_recorded(traces, exporter) -> None:
    message = delivery(UNSAMPLED)
    ended(traces, message, image(message))
    assert exporter.get_finished_spans() == ()


def test_the_sampler_decides_about_tasks_without_a_trace(exporter) -> None:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider)
    for headers in ({}, SAMPLED):
        message = delivery(headers)
        ended(traces, message, image(message))
    names = [span.name for span in exporter.get_finished_spans()]
    assert names.count("process clip.classify") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "x" * 1_000_000},
        {"traceparent": 7, "tracestate": ["a"]},
        {"traceparent": {"a": 1}},
        {"traceparent": f"ff-{TRACE}-{PARENT}-01"},
        {"traceparent": f"00-{32 * '0'}-{PARENT}-01"},
        {"traceparent": f"00-{TRACE}-{PARENT}-01\r\nx: y"},
        SAMPLED | {"tracestate": "a=" + "b" * 1_000_000},
        SAMPLED | {"tracestate": "\x00=,,;"},
        {SENT: 1e308},
        {SENT: -1e308},
        {SENT: float("nan")},
        {SENT: True},
    ],
)
def test_hostile_headers_do_no_harm(traces, spans, headers) -> None:
    message = delivery(headers)
    ended(traces, message, image(message))
    span = spans()["process clip.classify"]
    assert len(span.to_json()) < 5000
    begin, end = seconds(span)
    assert -7 * 86_400 <= begin <= end <= 0.001


def test_an_image_that_ends_after_its_message_leaves_nothing(traces, exporter) -> None:
    message = delivery({})
    ended(traces, message)
    count = len(exporter.get_finished_spans())
    traces.images_ended([image(message)])
    assert message.trace is None
    assert len(exporter.get_finished_spans()) == count


def test_a_tracer_that_fails_harms_no_task(traces, monkeypatch, caplog) -> None:
    monkeypatch.setattr(traces, "_tracer", None)
    message = delivery({})
    ended(traces, message, image(message))
    assert "could not be traced" in caplog.text
