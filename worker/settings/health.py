"""Settings of metrics, health and logs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from worker.variables import METRICS_PORT, is_service_link


class HealthSettings(BaseSettings):
    """Metrics, health and logs."""

    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="TCP port on which the worker serves `/metrics`, `/healthz` and `/readyz`; of "
        "several workers of one `clip-worker start` the first has this port, the second the next "
        "one, and so on; unset: no port",
    )
    metrics_address: str = Field(
        "0.0.0.0",  # noqa: S104  # probes and scrapes come from other machines
        min_length=1,
        description="address that the port is opened on: an IP address of this machine; `::` for "
        "IPv6 and IPv4",
    )

    log_format: Literal["text", "json"] = Field(
        "text",
        description="`json`: each line of the log is a JSON object ([logs](logs.md))",
    )

    @field_validator("metrics_port", mode="before")
    @classmethod
    def _unset_if_service_link(cls, value: object) -> object:
        """Of a Kubernetes service named `clip-worker-metrics`; `metrics_port_warning` tells."""
        is_link = isinstance(value, str) and is_service_link(METRICS_PORT, value)
        return None if is_link else value or None
