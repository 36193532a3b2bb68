"""The W3C trace context of a message: the span that is active where it is sent, if there is one.

An application that traces has imported `opentelemetry`; then the headers `traceparent` and
`tracestate` are added. Nothing is imported for that, and without it nothing is done.
See https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"


def current_span() -> Any:
    """The span context that is active here; None without one, or without OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return context if context.is_valid else None


def trace_headers() -> dict[str, str]:
    """The headers that carry the active span; empty without one."""
    context = current_span()
    if context is None:
        return {}
    flags = int(context.trace_flags)
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
    state = context.trace_state.to_header()
    return {TRACEPARENT: parent} | ({TRACESTATE: state} if state else {})


@contextmanager
def waiting_span(sent_in: Any, task_id: str) -> Iterator[None]:
    """A span of the wait for a result, in the trace that its task was sent in.

    Args:
        sent_in: What `current_span` returned when the task was sent.
        task_id: Of the task.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or sent_in is None:
        yield
        return
    here, parent = trace.get_current_span().get_span_context(), None
    if here.trace_id != sent_in.trace_id:  # it is waited for elsewhere: the task's trace counts
        parent = trace.set_span_in_context(trace.NonRecordingSpan(sent_in))
    with trace.get_tracer("clip-worker").start_as_current_span(
        "clip-worker wait", parent, attributes={"messaging.message.id": task_id}
    ):
        yield
