"""Builds what traces tasks, from OpenTelemetry's own environment variables.

See https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from clip_worker.version import __version__
from worker.tracing.traces import Traces

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"
EXTRA = 'pip install "clip-worker[otel]"'
LOGGER = "opentelemetry"  # and all below it
QUIET_S = 60.0


def wants_traces(environment: Mapping[str, str]) -> bool:
    """Whether the environment says where traces are sent."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporter := environment.get("OTEL_TRACES_EXPORTER", "").strip().lower():
        return exporter == "otlp"
    return any(environment.get(name) for name in ENDPOINTS)


def build_traces(
    environment: Mapping[str, str], worker: str, warn: Callable[[str], None]
) -> Traces | None:
    """What traces tasks; None if that is not wanted, or not possible, of which it warns.

    An application that has set up OpenTelemetry's SDK before keeps its own provider.

    Args:
        environment: This process's.
        worker: This worker's name.
        warn: Takes a sentence.
    """
    if not wants_traces(environment):
        return None
    protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), HTTP)
    if protocol.strip() != HTTP:
        warn(f"No traces are sent: the OTLP protocol is {protocol!r}; set {PROTOCOLS[1]}={HTTP}.")
        return None
    try:
        return Traces(_provider(environment, worker))
    except ImportError as error:
        warn(f"No traces are sent: {error.name or error} is not installed; {EXTRA}.")
    except ValueError as error:
        warn(f"No traces are sent: a variable OTEL_* is invalid ({error}).")
    return None


def stop_traces(traces: Traces, timeout_s: float) -> None:
    """Send the spans that are left, for at most so long."""
    thread = threading.Thread(target=traces.provider.shutdown, name="traces", daemon=True)
    thread.start()
    thread.join(timeout_s)


def _provider(environment: Mapping[str, str], worker: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import get_tracer_provider

    present = get_tracer_provider()
    if isinstance(present, TracerProvider):
        return present
    usual = {"service.version": __version__, "service.instance.id": worker}
    if not environment.get("OTEL_SERVICE_NAME"):
        usual["service.name"] = "clip-worker"
    provider = TracerProvider(resource=Resource.create(usual), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _quieten(logging.getLogger(LOGGER))
    return provider


def _quieten(logger: logging.Logger) -> None:
    logger.addHandler(OncePerMinute())
    logger.propagate = False


class OncePerMinute(logging.Handler):
    """Hands one record a minute to the root logger: a collector that is away fails every second.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next = clock()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on, if it is time."""
        if self._clock() >= self._next:
            self._next = self._clock() + QUIET_S
            logging.getLogger().handle(record)
