"""The SSRF check: resolves a host once, and permits it only if all its addresses are permitted."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from clip_worker.errors import ImageUnavailableError, TemporaryError
from clip_worker.quoting import quote
from worker.sources.permitted_addresses import is_permitted

if TYPE_CHECKING:
    from clip_worker.contract.http_url import HttpUrl
    from worker.sources.policy import FetchPolicy

Resolver = Callable[[str, int], Sequence[str]]

# Permanent errors; others, such as a name server that does not answer, are temporary.
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


def system_resolver(host: str, port: int) -> list[str]:
    """Resolve a host with the system's resolver; its addresses, best first.

    Raises:
        OSError: `socket.gaierror`: no such host, or no answer.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Decides which addresses a URL may be fetched from.

    To prevent DNS rebinding, connect to the addresses that it returns, not to the name.
    """

    policy: FetchPolicy
    resolver: Resolver = system_resolver

    def permitted_addresses(self, url: HttpUrl) -> tuple[str, ...]:
        """All addresses of a URL's host, each of them permitted.

        Raises:
            ImageUnavailableError: `FETCH_FORBIDDEN_ADDRESS` if any address is not permitted,
                `FETCH_UNKNOWN_HOST`.
            TemporaryError: `FETCH_CONNECTION`: the resolver gave no answer.
        """
        addresses = self._resolve(url)
        for address in addresses:
            if not self._is_permitted(address):
                # Without the address, which would reveal a network's internals to strangers.
                raise ImageUnavailableError(
                    f"The host {quote(url.host)} is not on the public internet, so nothing was "
                    "fetched; an operator can open its network with CLIP_WORKER_ALLOW_NETWORKS.",
                    "FETCH_FORBIDDEN_ADDRESS",
                )
        return addresses

    def _resolve(self, url: HttpUrl) -> tuple[str, ...]:
        if _is_literal(url.host):
            return (url.host,)
        try:
            addresses = tuple(self.resolver(url.host, url.port))
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_HOST:
                raise _unknown_host(url) from error
            raise TemporaryError(
                f"The host {quote(url.host)} could not be resolved: the name server did not "
                "answer.",
                "FETCH_CONNECTION",
            ) from error
        except UnicodeError as error:  # from encoding the name, in getaddrinfo
            raise _unknown_host(url) from error
        if not addresses:
            raise _unknown_host(url)
        return addresses

    def _is_permitted(self, address: str) -> bool:
        return is_permitted(
            ip_address(address), self.policy.allow_networks, allow_private=self.policy.allow_private
        )


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unknown_host(url: HttpUrl) -> ImageUnavailableError:
    return ImageUnavailableError(
        f"The host {quote(url.host)} does not exist.", "FETCH_UNKNOWN_HOST"
    )
