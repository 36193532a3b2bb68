"""Settings of metrics and health."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class HealthSettings(BaseSettings):
    """Metrics and health."""

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
