"""What a trace costs a worker, by task: unsampled by its producer, unsampled here, and recorded.

    python benchmarks/traced_tasks.py

Spans are exported to memory, so sending them is not part of it; that happens on another thread.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

from clip_worker.contract.message_reader import Envelope
from clip_worker.contract.message_writer import EncodedRequest, MessageWriter
from clip_worker.contract.requests import RequestOptions
from worker.delivery.delivery import Delivery
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.tracing.traces import Traces

ROUNDS, TASKS = 5, 300
REQUEST = TaggingRequest(labels=("a",), templates=("{}",), k=1)
PARENT = f"00-{'a' * 32}-{'b' * 16}-"
TIMING = {"batch_wait": 0.001, "forward": 0.02, "score": 0.001, "batch_size": 8}


def main() -> None:
    """Print microseconds a task."""
    on, off = ParentBased(ALWAYS_ON), ParentBased(ALWAYS_OFF)
    cases: dict[str, tuple[Sampler, dict[str, str]]] = {
        "unsampled by its producer": (on, {"traceparent": f"{PARENT}00"}),
        "without a producer's trace, unsampled here": (off, {}),
        "recorded": (on, {"traceparent": f"{PARENT}01"}),
    }
    for name, (sampler, headers) in cases.items():
        best_s = min(_traced_s(sampler, headers) for _ in range(ROUNDS))
        print(f"{name}: {best_s * 1e6:.1f} us a task")
    print(f"a message of the client: {min(_written_s() for _ in range(ROUNDS)) * 1e6:.1f} us")


def _traced_s(sampler: Sampler, headers: dict[str, str]) -> float:
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    traces = Traces(provider)
    tasks = [_task(headers) for _ in range(TASKS)]
    began = time.thread_time()
    for task in tasks:
        traces.images_ended([task])
        traces.messages_ended([task.message])  # type: ignore[list-item]  # a delivery
    return (time.thread_time() - began) / TASKS


def _task(headers: dict[str, str]) -> ImageTask:
    lease: Any = SimpleNamespace(queue=SimpleNamespace(name="clip"))
    message = Delivery(lease, "tag", (), b"", Envelope("id", "clip.classify", dict(headers)))
    owner: Any = None
    task = ImageTask("data:,", REQUEST, owner, message, prepared_s=time.perf_counter())
    task.result = {"timing": TIMING}
    return task


def _written_s() -> float:
    writer = MessageWriter("clip")
    arguments = EncodedRequest(RequestOptions(labels=("cat", "dog"))).with_image("data:,")
    began = time.thread_time()
    for _ in range(TASKS):
        writer.write("00000000-0000-0000-0000-000000000000", "clip.classify", arguments)
    return (time.thread_time() - began) / TASKS


if __name__ == "__main__":
    main()
