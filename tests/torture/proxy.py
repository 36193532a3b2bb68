"""A TCP proxy on loopback that a test can cut, close to new connections, and heal.

One stands between each worker and Redis, so that a worker can be partitioned from a Redis that goes
on serving the others.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536


class Proxy:
    """Passes bytes both ways between its own port and a target's, while it is entered.

    Args:
        target_port: On loopback.
        delay_s: Added to each chunk each way: a network that has a length.
    """

    def __init__(self, target_port: int, *, delay_s: float = 0.0) -> None:
        self._target_port = target_port
        self._delay_s = delay_s
        self._passing = threading.Event()
        self._passing.set()
        self._closed = False
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._accept_on(self._listener)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._passing.set()
        _hang_up(self._listener)
        self.drop()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def cut(self) -> None:
        """Partition: connections stay, new ones are not answered, nothing passes."""
        self._passing.clear()

    def heal(self) -> None:
        """Pass everything again, what was held back first."""
        self._passing.set()

    def refuse(self) -> None:
        """Refuse new connections, as the port of a server that is down does; old ones stay."""
        _hang_up(self._listener)

    def admit(self) -> None:
        """Take new connections again."""
        if self._listener.fileno() == -1:
            self._listener = self._listen(self.port)
            self._accept_on(self._listener)

    def drop(self) -> None:
        """End all connections."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            _hang_up(connection)

    def _listen(self, port: int) -> socket.socket:
        return socket.create_server((HOST, port), backlog=128)

    def _accept_on(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # closed
                return
            self._passing.wait()
            self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection((HOST, self._target_port))
        except OSError:
            near.close()
            return
        with self._lock:
            self._connections |= {near, far}
        if self._closed:
            self.drop()
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=[source, sink], daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        # Either side's end, in order or not, ends both: Redis knows no half-closed connections.
        with contextlib.suppress(OSError):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := source.recv(CHUNK_BYTES):
                self._passing.wait()
                if self._delay_s:
                    time.sleep(self._delay_s)
                sink.sendall(data)
        self._passing.wait()  # a partition doesn't let an end pass either
        for end in (source, sink):
            _hang_up(end)
        with self._lock:
            self._connections -= {source, sink}


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # shut or ended already
        connection.shutdown(socket.SHUT_RDWR)  # close alone would not wake who waits on it
    connection.close()
