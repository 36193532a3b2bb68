"""TCP ports for servers under test."""

from __future__ import annotations

import socket


def free_port(count: int = 1) -> int:
    """The first of so many neighbouring ports that nobody listens on."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = int(first.getsockname()[1])
        if all(_is_free(port + i) for i in range(count)):
            return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except (OSError, OverflowError):
        return False
    return True
