"""Settings of fetching: from where, how much, how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Where pictures may come from.

    Attributes:
        file_roots: Folders below which `file:` URIs may read; none by default.
        allow_networks: Networks that http may reach although they are not public. Cloud metadata
            only if an entry names it (`worker.sources.permitted_addresses.METADATA_NETWORKS`).
        allow_private: Whether http may reach loopback, RFC 1918, RFC 6598 and RFC 4193
            addresses. Cloud metadata stays refused.
        object_store_schemes: Schemes handed to fsspec, lower case.
    """

    file_roots: tuple[Path, ...] = ()
    allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    allow_private: bool = False
    object_store_schemes: tuple[str, ...] = ("s3", "gs", "az")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How much one fetch may take.

    Attributes:
        max_bytes: The largest picture, in bytes as transferred.
        total_s: Seconds for a whole fetch, redirects and slow servers included.
        connect_s: Seconds to reach one address, and again for its TLS handshake.
        max_redirects: Redirects followed before giving up.
    """

    max_bytes: int = 64 * 1024 * 1024
    total_s: float = 30.0
    connect_s: float = 5.0
    max_redirects: int = 5
