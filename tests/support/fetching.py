"""A fetcher that may ask this machine, and the error that a fetch ends with."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from worker.errors import ClipWorkerError
from worker.sources import Fetcher, FetchLimits, FetchPolicy

LOOPBACK = FetchPolicy(allow_networks=(ip_network("127.0.0.0/8"),))


def fetcher(max_bytes=1000_000):
    return Fetcher(LOOPBACK, FetchLimits(max_bytes=max_bytes))


def failure_of(fetch, uri):
    with pytest.raises(ClipWorkerError) as caught:
        fetch(uri)
    return caught.value
