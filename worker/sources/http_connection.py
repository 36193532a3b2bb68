"""An HTTP connection to a checked address, with a deadline for the whole response.

urllib3's time-outs apply to each read, so a server that sends a byte now and then keeps a
connection open forever. Here each read of the socket may take only the time left until the
deadline.
"""

from __future__ import annotations

import functools
import http.client
import io
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence
    from contextlib import ExitStack

    from clip_worker.contract.http_url import HttpUrl
    from worker.sources.deadline import Deadline

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(;.*)?\r?\n", re.DOTALL)
_CHUNK_LINE_BYTES = 4096  # a chunk's size and its extensions


@dataclass(frozen=True, slots=True)
class Dialer:
    """Opens connections.

    Attributes:
        ssl_context: Verifies certificates and host names.
        connect_s: Seconds to reach one address, and again for its TLS handshake.
    """

    ssl_context: ssl.SSLContext
    connect_s: float

    def __post_init__(self) -> None:
        # urllib3's warnings about malformed headers contain the whole URL.
        logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

    def dial(
        self, url: HttpUrl, addresses: Sequence[str], deadline: Deadline, cleanup: ExitStack
    ) -> HTTPConnection:
        """Connect to the first address that answers.

        SNI and the certificate's name are those of `url.host`, whatever the address.

        Args:
            url: Scheme, port and name on the certificate.
            addresses: Checked addresses, at least one.
            deadline: Deadline of connecting and reading.
            cleanup: Closes everything that was opened.

        Raises:
            OSError, urllib3.exceptions.HTTPError: No address answered, the handshake failed or
                the deadline has passed.
        """
        *others, last = addresses
        for address in others:
            # Including refused and unreachable, which urllib3 derives from this.
            with suppress(ConnectTimeoutError):
                return self._open(url, address, deadline, cleanup)
        return self._open(url, last, deadline, cleanup)

    def _open(
        self, url: HttpUrl, address: str, deadline: Deadline, cleanup: ExitStack
    ) -> HTTPConnection:
        connection = self._connection(url, address, min(self.connect_s, deadline.remaining_s()))
        cleanup.callback(connection.close)
        connection.connect()
        connection.timeout = deadline.remaining_s()
        response: Any = functools.partial(_DeadlineResponse, deadline=deadline, cleanup=cleanup)
        connection.response_class = response
        return connection

    def _connection(self, url: HttpUrl, address: str, timeout_s: float) -> HTTPConnection:
        if url.scheme == "http":
            return HTTPConnection(address, url.port, timeout=timeout_s)
        return HTTPSConnection(
            address,
            url.port,
            timeout=timeout_s,
            server_hostname=url.host,
            ssl_context=self.ssl_context,
        )


class _DeadlineResponse(http.client.HTTPResponse):
    """A response whose status line, headers and body are read under one deadline."""

    def __init__(
        self,
        sock: socket.socket,
        *args: Any,
        deadline: Deadline,
        cleanup: ExitStack,
        **options: Any,
    ) -> None:
        super().__init__(sock, *args, **options)
        # urllib3 does not close the response if its head has two different lengths.
        cleanup.callback(self.close)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock, deadline))

    def _read_next_chunk_size(self) -> int:
        """Read a chunk's size (RFC 9112, 7.1), instead of http.client's own method.

        That accepts everything that `int(line, 16)` does; at -1 it reads without limit.

        Raises:
            ValueError: It is not a hexadecimal number; the caller raises `IncompleteRead`.
        """
        line = self.fp.readline(_CHUNK_LINE_BYTES)
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            self.close()
            raise ValueError(f"A chunk begins with {line[:40]!r} instead of its size.")
        return int(match[1], 16)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket; each read may take the time left until the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._deadline.remaining_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
