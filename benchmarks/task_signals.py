"""What Celery's task signals cost on the queue path: tasks a second and processor time a task.

    python -W ignore -m benchmarks.task_signals [ROUNDS] [TASKS]

A worker whose model answers at once, with validation and answers ("with admission" in
`benchmarks.bench`), one process for each way, on a Redis each; the ways take turns, figures are
medians. "Taken out" is a worker whose `TaskSignals` does nothing at all, "nobody listens" the
usual one, "receivers" has one that does nothing for each of task_prerun, task_success and
task_postrun, "OpenTelemetry" its instrumentation, with spans that are dropped in the end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from celery import signals

from benchmarks.bench import no_op
from benchmarks.bench.contender import Contender
from benchmarks.bench.contenders import no_op_worker
from benchmarks.bench.messages import ClipWorkerSender
from worker.delivery.task_signals import TaskSignals

ROUNDS, TASKS = 5, 15_000


def take_out() -> None:
    """Let the hooks do nothing."""
    for name in ("received", "started", "succeeded", "failed", "revoked", "ended"):
        setattr(TaskSignals, name, lambda *_, **__: None)


def receive(**_: object) -> None:
    """Take a signal, and do nothing."""


def connect() -> None:
    """Listen to a task's signals."""
    for signal in (signals.task_prerun, signals.task_success, signals.task_postrun):
        signal.connect(receive)


def instrument() -> None:
    """Let OpenTelemetry listen."""
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class Drop(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002  # its signature
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Drop()))
    CeleryInstrumentor().instrument(tracer_provider=provider)


WAYS: dict[str, Callable[[], None]] = {
    "taken out": take_out,
    "nobody listens": lambda: None,
    "receivers": connect,
    "OpenTelemetry": instrument,
}


def contender(name: str) -> Contender:
    """A worker of one of the ways."""
    return Contender(
        name,
        lambda _: ["-W", "ignore", "-m", "benchmarks.task_signals", "serve", name],
        lambda url: {"CLIP_WORKER_REDIS_URL": url},
        ClipWorkerSender,
    )


def serve(name: str) -> None:
    """Be the worker."""
    WAYS[name]()
    no_op_worker.main("pipeline")


def main(rounds: int, tasks: int) -> None:
    """Print a table."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    with ExitStack() as stack:
        running = [stack.enter_context(contender(name)) for name in WAYS]
        templates = {each.name: no_op.template_of(each) for each in running}
        for number in range(-1, rounds):  # the first is to warm up
            shift = number % len(running)
            for each in [*running[shift:], *running[:shift]]:
                done = no_op.run(each, templates[each.name], tasks)
                if number >= 0:
                    found[each.name].append(done)
    print("| | tasks/s | least to most | worker CPU, us a task | to nobody |")
    print("| --- | --- | --- | --- | --- |")
    base = median(done["cpu_s"] for done in found["nobody listens"])
    for name, all_done in found.items():
        rates = [tasks / done["seconds"] for done in all_done]
        cpu_s = median(done["cpu_s"] for done in all_done)
        print(
            f"| {name} | {median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | "
            f"{1e6 * cpu_s / tasks:.0f} | {cpu_s / base:.2f} |"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", name]:
            serve(name)
        case numbers:
            main(*(int(number) for number in [*numbers, *(ROUNDS, TASKS)[len(numbers) :]]))
