"""A Redis written in Python (`fakeredis[lua]`), served over TCP from a thread of this process.

The last resort of `worker.cli.demo.embedded_redis`: it is sufficient for a stock Celery worker with
remote control, at about 300 tasks a second. It has no `INFO` and no `CONFIG`, and keeps its data as
long as the process lives.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from fakeredis import TcpFakeServer
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
_SHUTDOWN_POLL_S = 0.05


class LoopbackServer(TcpFakeServer):
    """`TcpFakeServer` on a free port of 127.0.0.1, with three problems fixed."""

    def __init__(self) -> None:
        super().__init__((HOST, 0))
        # A client that stays connected must not keep this process from exiting.
        self.daemon_threads = True
        self.RequestHandlerClass = _surviving_errors(self.RequestHandlerClass)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client, and disable Nagle's algorithm.

        Replies are sent in several small writes. With Nagle's algorithm and the client's delayed
        acknowledgements, the reply to a `MULTI` takes 44 ms instead of 0.3 ms.
        """
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


def _surviving_errors(handler: Any) -> Any:
    """Derive a request handler that keeps the connection open after an error, as Redis does.

    fakeredis closes it, even after an ordinary error such as `NOSCRIPT`.
    """

    class Handler(handler):  # type: ignore[misc]  # fakeredis does not export its class
        def setup(self) -> None:
            super().setup()
            read_response = self.current_client.read_response

            def read_response_or_error() -> Any:
                try:
                    return read_response()
                except ResponseError as error:
                    return error  # the handler encodes it as one

            self.current_client.read_response = read_response_or_error

    return Handler


@contextlib.contextmanager
def serve() -> Iterator[int]:
    """Serve until the context ends; yields the port."""
    with LoopbackServer() as server:
        thread = threading.Thread(
            target=server.serve_forever, args=(_SHUTDOWN_POLL_S,), name="fake-redis", daemon=True
        )
        thread.start()
        try:
            port: int = server.server_address[1]
            yield port
        finally:
            server.shutdown()
            thread.join()
