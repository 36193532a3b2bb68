"""TCP ports for servers under test."""

from __future__ import annotations

import secrets
import socket

# Below the ports that Linux (32768 and up), macOS and Windows give to connections: there, another
# connection may take the port before the server does, and a client that asks while the server
# starts may be connected to itself (a simultaneous open, RFC 9293, section 3.5).
PORTS = range(12_000, 32_000)


def free_port(count: int = 1) -> int:
    """The first of so many neighbouring ports that nobody listens on."""
    while True:
        port = PORTS[secrets.randbelow(len(PORTS) - count)]
        if all(_is_free(port + i) for i in range(count)):
            return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
