"""A real `redis-server` that speaks TLS too, with a certificate from an authority made for it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.redis_server import RedisServer, new_server

from worker.cli.demo.embedded_redis import IN_MEMORY
from worker.cli.demo.redis_server import find_free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "localhost"  # in the certificate, unlike the address
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class TlsServer:
    """The server, and what its clients need.

    Attributes:
        server: To configure.
        port: That it speaks TLS on.
        authority: The authority's certificate.
        certificate: The server's own, which a client may show, too.
        key: To that.
    """

    server: RedisServer
    port: int
    authority: Path
    certificate: Path
    key: Path

    def url(self, host: str = NAME, **parameters: object) -> str:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"rediss://{host}:{self.port}/0{query and '?'}{query}"

    @contextmanager
    def asking_for_certificates(self) -> Iterator[None]:
        """Ask each client for a certificate of the authority, while it is entered."""
        with self.server.client() as operator:
            operator.config_set("tls-auth-clients", "yes")
            try:
                yield
            finally:
                operator.config_set("tls-auth-clients", "no")


@contextmanager
def tls_server(folder: Path) -> Iterator[TlsServer]:
    """A server that asks its clients for no certificate, while it is entered.

    Args:
        folder: For keys and certificates.
    """
    authority, certificate, key = _make_certificates(folder)
    port = find_free_port()
    options = (
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-ca-cert-file", str(authority)),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
    )
    with new_server(*IN_MEMORY, *options) as server:
        yield TlsServer(server, port, authority, certificate, key)


def _make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """The authority's certificate; one that it signed for `NAME`, and its key."""
    authority, signing_key = folder / "authority.pem", folder / "authority-key.pem"
    certificate, key, request = (folder / name for name in ("cert.pem", "key.pem", "request.pem"))
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{NAME}\n")
    _openssl(
        *("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=Authority"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", signing_key, "-out", authority),
    )
    _openssl("req", "-new", *_KEY, "-subj", f"/CN={NAME}", "-keyout", key, "-out", request)
    _openssl(
        *("x509", "-req", "-in", request, "-days", "2", "-extfile", extensions),
        *("-CA", authority, "-CAkey", signing_key, "-CAcreateserial", "-out", certificate),
    )
    return authority, certificate, key


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
