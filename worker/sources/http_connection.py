"""An HTTP connection to a checked address that can't outlive its deadline.

urllib3's time-outs count from one byte to the next, so a server that drips a byte now and then
holds a connection open for ever. Here each read of the socket gets only what is left of the whole.
"""

from __future__ import annotations

import functools
import http.client
import io
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence

    from worker.sources.deadline import Deadline
    from worker.sources.http_url import HttpUrl


def connect(
    url: HttpUrl,
    addresses: Sequence[str],
    *,
    deadline: Deadline,
    connect_s: float,
    ssl_context: ssl.SSLContext,
) -> HTTPConnection:
    """Connect to the first address that answers.

    The certificate and SNI are those of `url.host`, whatever address was dialled.

    Raises:
        OSError: No address answered, the handshake failed or the time is up.
        urllib3.exceptions.HTTPError: Likewise.
    """
    *others, last = addresses
    for address in others:
        connection = _connection(url, address, min(connect_s, deadline.remaining_s()), ssl_context)
        try:
            return _opened(connection, deadline)
        except ConnectTimeoutError:  # refused or unreachable too: urllib3 derives them from it
            connection.close()
    connection = _connection(url, last, min(connect_s, deadline.remaining_s()), ssl_context)
    return _opened(connection, deadline)


def _connection(
    url: HttpUrl, address: str, timeout_s: float, ssl_context: ssl.SSLContext
) -> HTTPConnection:
    if url.scheme == "http":
        return HTTPConnection(address, url.port, timeout=timeout_s)
    return HTTPSConnection(
        address, url.port, timeout=timeout_s, server_hostname=url.host, ssl_context=ssl_context
    )


def _opened(connection: HTTPConnection, deadline: Deadline) -> HTTPConnection:
    try:
        connection.connect()
        connection.timeout = deadline.remaining_s()
    except BaseException:
        connection.close()
        raise
    response_class: Any = functools.partial(_DeadlineResponse, deadline=deadline)
    connection.response_class = response_class
    return connection


class _DeadlineResponse(http.client.HTTPResponse):
    """A response whose status line, headers and body are read under one deadline."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: Deadline, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock, deadline))


class _DeadlineReader(io.RawIOBase):
    """Reads a socket, giving each read what is left of the deadline."""

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
