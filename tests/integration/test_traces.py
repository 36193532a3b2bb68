"""A real worker that sends its traces to a collector, from producers of all kinds."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.otlp_receiver import otlp_receiver
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import AsyncClient, Client
from clip_worker.errors import ClipWorkerError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red", "green"]
LIMIT_S = 120.0
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["labels", "fetch", "decode", "batch_wait", "batch", "forward", "score", "store"]
ENVIRONMENT = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_RESOURCE_ATTRIBUTES": "team=search"}


@pytest.fixture
def exporter(monkeypatch):
    """Of this process's spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def header(flags: str) -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "tracestate": "vendor=x"}


def test_from_the_producer_to_the_result_is_one_trace(
    redis_url, tmp_path, image, plain, exporter
) -> None:
    with otlp_receiver() as collector:
        environment = ENVIRONMENT | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        with WorkerProcess(redis_url, tmp_path, environment=environment) as worker:
            _check_client(redis_url, image, collector, exporter)
            asyncio.run(_check_async_client(redis_url, image, collector))
            _check_several_images(redis_url, image, collector)
            _check_a_failure(redis_url, tmp_path, collector)
            _check_other_producers(plain, image, collector)
            assert worker.stop() == 0


def _check_client(url, image, collector, exporter) -> None:
    with Client(url) as client:
        with trace.get_tracer("app").start_as_current_span("request") as request:
            handle = client.classify(image, LABELS)
        handle.get(LIMIT_S)
    task = collector.of_task(handle.id)
    sent_in = request.get_span_context()
    assert (int(task.trace, 16), int(task.parent, 16)) == (sent_in.trace_id, sent_in.span_id)
    assert task.attributes["clip_worker.outcome"] == "succeeded"
    assert task.service["service.name"] == "clip-worker"
    assert task.service["team"] == "search"
    stages = sorted(collector.below(task), key=lambda span: (span.began, STAGES))
    assert {span.name for span in stages} == {"queue", *STAGES}
    by_name = {span.name: span for span in stages}
    assert by_name["forward"].links == (by_name["batch"].id,)
    assert all(task.began <= span.began <= span.ended for span in stages)
    assert by_name["store"].ended <= task.ended
    wait = exporter.get_finished_spans()[-1]
    assert (wait.name, wait.context.trace_id) == ("clip-worker wait", sent_in.trace_id)


async def _check_async_client(url, image, collector) -> None:
    async with AsyncClient(url) as client:
        with trace.get_tracer("app").start_as_current_span("request") as request:
            handle = await client.classify(image, LABELS)
        await handle.get(LIMIT_S)
    task = await asyncio.to_thread(collector.of_task, handle.id)
    assert int(task.parent, 16) == request.get_span_context().span_id


def _check_several_images(url, image, collector) -> None:
    tracer = trace.get_tracer("app")
    with Client(url) as client, tracer.start_as_current_span("backfill") as span:
        assert len(list(client.classify_many([image] * 3, LABELS))) == 3
    trace_id = f"{span.get_span_context().trace_id:032x}"
    task = _process_span(collector, trace_id)
    assert task.attributes["clip_worker.images"] == 3
    assert [one.name for one in collector.below(task)].count("image") == 3


def _process_span(collector, trace_id):
    def ended():
        return [
            one
            for one in collector.spans
            if (one.trace, one.name) == (trace_id, "process clip.classify_many")
        ]

    wait_until(ended)
    [span] = ended()
    return span


def _check_a_failure(url, folder, collector) -> None:
    with Client(url) as client:
        handle = client.classify((folder / "gone.png").as_uri(), LABELS)
        with pytest.raises(ClipWorkerError) as caught:
            handle.get(LIMIT_S)
    task = collector.of_task(handle.id)
    assert task.is_error
    assert task.parent == ""  # nobody traced it before
    assert task.attributes["error.type"] == caught.value.code


def _check_other_producers(plain, image, collector) -> None:
    arguments = {"labels": LABELS}
    sampled = plain.send_task("clip.classify", (image,), arguments, headers=header("01"))
    unsampled = plain.send_task("clip.classify", (image,), arguments, headers=header("00"))
    hostile = plain.send_task(
        "clip.classify", (image,), arguments, headers={"traceparent": "x" * 100_000}
    )
    by_celery = plain.send_task(
        "clip.classify", (image,), arguments, headers=header("01"), countdown=0.01
    )
    for sent in (sampled, unsampled, hostile, by_celery):
        assert sent.get(LIMIT_S)["predictions"]
    for sent in (sampled, by_celery):
        span = collector.of_task(sent.id)
        assert (span.trace, span.parent) == (TRACE, PARENT)
        assert "forward" in {one.name for one in collector.below(span)}
    assert collector.of_task(hostile.id).parent == ""
    ids = {one.attributes.get("messaging.message.id") for one in collector.spans}
    assert unsampled.id not in ids


def test_a_collector_that_is_away_delays_nothing(redis_url, tmp_path, image) -> None:
    environment = ENVIRONMENT | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with (
        WorkerProcess(redis_url, tmp_path, environment=environment) as worker,
        Client(redis_url) as client,
    ):
        for _ in range(20):
            client.classify(image, LABELS).get(LIMIT_S)
        assert worker.stop() == 0
        log = worker.log
    assert log.count("opentelemetry") + log.count("Exception while exporting") <= 2, log
