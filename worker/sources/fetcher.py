"""Fetches the bytes behind a URI, by its scheme."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Protocol

from clip_worker.contract.uri import scheme_of, validate_uri
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import shown_uri
from worker.sources.data import DataSource
from worker.sources.file import FileSource
from worker.sources.http import HttpSource
from worker.sources.object_store import ObjectStoreSource
from worker.sources.policy import FetchLimits, FetchPolicy
from worker.sources.reservation import Reserve, unlimited
from worker.sources.ssrf_guard import AddressGuard, system_resolver

if TYPE_CHECKING:
    from worker.sources.deadline import Clock
    from worker.sources.ssrf_guard import Resolver


class Source(Protocol):
    """Fetches URIs of one kind."""

    def fetch(self, uri: str, reserve: Reserve) -> bytes:
        """Fetch the bytes; raises errors of `clip_worker.errors`, and those of `reserve`."""


class Fetcher:
    """Fetches the bytes behind URIs. Thread-safe.

    Args:
        policy: Where images may come from.
        limits: Limits of a fetch.
        resolver: Resolves a host and port to addresses.
        ssl_context: Verifies certificates; by default with the system's authorities.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        policy: FetchPolicy | None = None,
        limits: FetchLimits | None = None,
        *,
        resolver: Resolver = system_resolver,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        policy = policy or FetchPolicy()
        limits = limits or FetchLimits()
        guard = AddressGuard(policy, resolver)
        web = HttpSource(limits, guard, ssl_context or ssl.create_default_context(), clock)
        objects = ObjectStoreSource(limits)
        self._sources: dict[str, Source] = {
            **dict.fromkeys(policy.object_store_schemes, objects),
            "data": DataSource(limits),
            "file": FileSource(policy.file_roots, limits),
            "http": web,
            "https": web,
        }

    def fetch(self, uri: str, reserve: Reserve = unlimited) -> bytes:
        """Fetch the bytes behind a URI, without checking that they are an image.

        Args:
            uri: URI of any scheme.
            reserve: Called with the number of bytes of memory that the fetch needs, before it uses
                more than `FIRST_BYTES`. An exception that it raises ends the fetch.

        Raises:
            InvalidRequestError: The URI is invalid: `BAD_URI`, `UNSUPPORTED_SCHEME`.
            ImageUnavailableError: The fetch failed for good; `code` says why.
            TemporaryError: The fetch failed, but may succeed later.
        """
        checked = validate_uri(uri)
        scheme = scheme_of(checked)
        source = self._sources.get(scheme)
        if source is None:
            raise InvalidRequestError(
                f"The scheme of {shown_uri(checked)} is not supported by this worker; use one of "
                f"{', '.join(sorted(self._sources))}.",
                "UNSUPPORTED_SCHEME",
            )
        return source.fetch(checked, reserve)
