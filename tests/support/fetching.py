"""A fetcher that may connect to this machine."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from worker.sources import Fetcher, FetchLimits, FetchPolicy

LOOPBACK = FetchPolicy(allow_networks=(ip_network("127.0.0.0/8"),))
# Name a test's host in a URL, which then resolves to this machine.
TO_LOOPBACK = {"resolver": lambda _host, _port: ["127.0.0.1"]}


def fetcher(options: dict[str, Any] | None = None, **limits: Any) -> Fetcher:
    """A fetcher with options of `Fetcher` and limits of `FetchLimits`."""
    return Fetcher(LOOPBACK, FetchLimits(**limits), **(options or {}))
