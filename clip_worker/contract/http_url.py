"""Parses http and https URLs strictly, so that different parsers can't disagree about the host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from clip_worker.contract.uri_errors import bad_uri

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_.\-]+")
# A host's last label that a C library might parse as a number: 127.1, 0x7f000001, 2130706433.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Everything that RFC 3986 allows in a path or query, and '%', which is already an escape.
_SAFE = "%/:?@!$&'()*+,;=-._~[]"
_MALFORMED_HOST = "has brackets in its host without an IPv6 address, or an invalid character"


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """A parsed and validated URL.

    Attributes:
        scheme: `http` or `https`.
        host: ASCII name in lower case, dotted IPv4, or IPv6 without brackets.
        port: 1 to 65535.
        target: Path and query, as on the request line.
    """

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Parse a URL.

        Raises:
            InvalidRequestError: `BAD_URI`: no host, a user name or password, an unusual spelling
                of an IPv4 address (decimal, octal, hexadecimal), an invalid port, a backslash.
        """
        parts = _split(uri)
        if parts.scheme not in _DEFAULT_PORTS:
            raise bad_uri(uri, "is neither http nor https")
        if "@" in parts.netloc:
            raise bad_uri(uri, "has a user name or password, which is not allowed")
        if "\\" in uri:
            raise bad_uri(uri, "has a backslash; write %5C")
        return cls(
            scheme=parts.scheme,
            host=_checked_host(uri, parts.hostname or ""),
            port=_checked_port(uri, parts),
            target=_target(parts),
        )

    def join(self, location: str) -> Self:
        """The URL that a redirect's `Location` names, relative ones included (RFC 3986 5).

        Raises:
            InvalidRequestError: As for `parse`.
        """
        try:
            joined = urljoin(str(self), location.strip())
        except ValueError:  # its message contains the URL, with its secrets
            raise bad_uri(location, _MALFORMED_HOST) from None
        return self.parse(joined)

    @property
    def host_header(self) -> str:
        """The `Host` header, with the port unless it is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.target}"


def _split(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError:  # likewise
        raise bad_uri(uri, _MALFORMED_HOST) from None


def _checked_port(uri: str, parts: SplitResult) -> int:
    try:
        port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:  # its message may contain a password
        raise bad_uri(uri, "has an invalid port; use 1 to 65535") from None
    if port == 0:
        raise bad_uri(uri, "has an invalid port; use 1 to 65535")
    return port


def _checked_host(uri: str, host: str) -> str:
    if ":" in host:
        return _checked_ipv6(uri, host)
    try:
        # This also converts full-width digits and ideographic dots before the checks below.
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise bad_uri(uri, f"has no valid host name: {error}") from error
    if not _HOST.fullmatch(name):
        raise bad_uri(uri, "has no valid host name; write https://example.com/cat.jpg")
    if _NUMERIC_LABEL.fullmatch(name.rstrip(".").rpartition(".")[2]):
        return _checked_ipv4(uri, name.rstrip("."))
    return name


def _checked_ipv4(uri: str, host: str) -> str:
    try:
        return str(IPv4Address(host))
    except ValueError as error:
        raise bad_uri(uri, "has an unusual IPv4 address; write it like 192.0.2.7") from error


def _checked_ipv6(uri: str, host: str) -> str:
    try:
        address = IPv6Address(host)
    except ValueError as error:
        raise bad_uri(uri, "has no valid IPv6 address in its brackets") from error
    if address.scope_id is not None:
        raise bad_uri(uri, "has an IPv6 zone, which means nothing on another machine")
    return str(address)


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE)
    return f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path
