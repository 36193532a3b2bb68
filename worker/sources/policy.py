"""Settings of fetching: allowed origins, and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Where images may come from.

    Attributes:
        file_roots: Folders that `file:` URIs may read; none by default.
        allow_networks: Networks that http may access although they are not public. Cloud metadata
            only by its own entry (`worker.sources.permitted_addresses.METADATA_NETWORKS`).
        allow_private: Whether http may access loopback, RFC 1918, RFC 6598 and RFC 4193
            addresses. Cloud metadata is refused nevertheless.
        object_store_schemes: Schemes that fsspec reads, in lower case.
    """

    file_roots: tuple[Path, ...] = ()
    allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    allow_private: bool = False
    object_store_schemes: tuple[str, ...] = ("s3", "gs", "az")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Limits of one fetch.

    Attributes:
        max_bytes: Maximum size of an image, in bytes as transferred.
        total_s: Seconds for the whole fetch, including redirects.
        connect_s: Seconds to connect to one address, and again for the TLS handshake.
        max_redirects: Maximum number of redirects.
    """

    max_bytes: int = 64 * 1024 * 1024
    total_s: float = 30.0
    connect_s: float = 5.0
    max_redirects: int = 5
