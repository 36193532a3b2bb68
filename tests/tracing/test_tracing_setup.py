"""When a worker traces, and what it says if it can't."""

from __future__ import annotations

import builtins
import logging

import pytest

from worker.tracing.setup import LOGGER, OncePerMinute, build_traces, stop_traces, wants_traces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "clip"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_an_endpoint_turns_traces_on(environment, wanted) -> None:
    assert wants_traces(environment) is wanted


def test_without_one_nothing_is_built() -> None:
    assert build_traces({}, "worker", pytest.fail) is None


def test_a_missing_package_is_a_warning(monkeypatch) -> None:
    load = builtins.__import__

    def without(name, *rest):
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="opentelemetry.exporter")
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    said: list[str] = []
    assert build_traces(ENDPOINT, "worker", said.append) is None
    assert said[0].startswith("No traces are sent: opentelemetry.exporter is not installed;")
    assert 'pip install "clip-worker[otel]"' in said[0]


def test_another_protocol_is_a_warning() -> None:
    said: list[str] = []
    environment = ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert build_traces(environment, "worker", said.append) is None
    assert "'grpc'; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in said[0]


@pytest.fixture
def logger():
    """OpenTelemetry's, which is left as it was."""
    logger = logging.getLogger(LOGGER)
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def test_the_service_has_a_name_and_an_instance(monkeypatch, logger) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    traces = build_traces(ENDPOINT, "clip-7@host", pytest.fail)
    assert traces
    attributes = traces.provider.resource.attributes
    assert attributes["service.name"] == "clip-worker"
    assert attributes["service.instance.id"] == "clip-7@host"
    assert not logger.propagate
    stop_traces(traces, 5.0)


def test_a_collector_that_is_away_is_logged_once_a_minute(caplog) -> None:
    now = [100.0]
    quiet = OncePerMinute(lambda: now[0])
    for seconds in (0, 1, 30, 60):
        now[0] = 100.0 + seconds
        record = {"msg": f"after {seconds}", "levelno": logging.WARNING}
        quiet.emit(logging.makeLogRecord(record))
    assert caplog.messages == ["after 0", "after 60"]
