"""Variables that Kubernetes sets for services whose names begin with `clip-worker`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from worker.celery import _configuration
from worker.settings import Settings, SettingsError
from worker.variables import START_OPTIONS, metrics_port_warning


def links(
    service: str, port: int = 80, name: str = "http", protocol: str = "tcp"
) -> dict[str, str]:
    """What a pod finds in its environment for a service with one named port."""
    prefix = service.upper().replace("-", "_")
    address = f"{protocol}://10.0.0.1:{port}"
    one = f"{prefix}_PORT_{port}_{protocol.upper()}"
    return {
        f"{prefix}_SERVICE_HOST": "10.0.0.1",
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_SERVICE_PORT_{name.upper().replace('-', '_')}": str(port),
        f"{prefix}_PORT": address,
        one: address,
        f"{one}_PROTO": protocol,
        f"{one}_PORT": str(port),
        f"{one}_ADDR": "10.0.0.1",
    }


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment without settings of ours."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CLIP_WORKER_")}
    monkeypatch.setattr(os, "environ", kept)
    return kept


@pytest.mark.parametrize(
    "service", ["clip-worker", "clip-worker-redis", "clip-worker-exporter", "clip-worker-metrics"]
)
@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
def test_a_service_of_kubernetes_does_not_stop_the_start(environment, service, protocol):
    environment |= links(service, name="http-metrics", protocol=protocol)

    assert Settings.load() == Settings()
    assert _configuration()


def test_an_ipv6_service_does_not_either(environment):
    environment |= {
        "CLIP_WORKER_SERVICE_HOST": "fd00::1",
        "CLIP_WORKER_PORT": "tcp://[fd00::1]:80",
    }

    assert Settings.load().metrics_port is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "9108"),
        ("METRIC_PORT", "9108"),
        ("SERVICE_HOST", "redis.example"),
        ("SERVICE_PORTS", "80"),
        ("PORT_80_TCP_PROTO", "http"),
    ],
)
def test_a_typing_error_that_looks_like_one_still_stops_the_start(environment, name, value):
    environment[f"CLIP_WORKER_{name}"] = value

    with pytest.raises(SettingsError, match=f"Unknown setting CLIP_WORKER_{name}"):
        Settings.load()


def test_a_service_that_takes_the_name_of_the_metrics_port_is_told_of(environment):
    environment |= links("clip-worker-metrics", port=9108)

    assert Settings.load().metrics_port is None
    assert metrics_port_warning(environment) == (
        "CLIP_WORKER_METRICS_PORT is 'tcp://10.0.0.1:9108', which Kubernetes sets for a service "
        "named clip-worker-metrics, so no metrics port is opened; rename the service, or set the "
        "variable in the pod's `env` or `enableServiceLinks: false` in its `spec`."
    )


def test_a_metrics_port_that_is_set_is_used_and_nothing_is_said(environment):
    environment["CLIP_WORKER_METRICS_PORT"] = "9108"

    assert Settings.load().metrics_port == 9108
    assert metrics_port_warning(environment) is None


@pytest.mark.parametrize("value", ["0", "65536", "http"])
def test_a_wrong_metrics_port_stops_the_start(environment, value):
    environment["CLIP_WORKER_METRICS_PORT"] = value

    with pytest.raises(SettingsError, match=f"CLIP_WORKER_METRICS_PORT is '{value}': "):
        Settings.load()


@pytest.mark.parametrize("name", START_OPTIONS)
def test_the_start_commands_own_variables_are_accepted_by_every_way_to_start(environment, name):
    environment[f"CLIP_WORKER_{name.upper()}"] = "30"

    assert Settings.load() == Settings()
    assert _configuration()  # of `celery -A worker worker`
