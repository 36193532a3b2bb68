"""A small HTTP server for probes and scrapes: GET and HEAD on a few fixed paths.

One thread serves all connections, so that a slow or silent client holds nobody up; a connection
gets a few seconds in all, and a new one takes the place of the oldest where there are too many.
What takes long, as the metrics may, runs on other threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import NamedTuple

logger = logging.getLogger(__name__)

LIMIT_S = 5.0  # for a connection, from its beginning to its end
MOST_CONNECTIONS = 64
MOST_REQUEST_BYTES = 16 * 1024
SLOW_THREADS = 2
STOP_S = 1.0
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """An answer to a request.

    Attributes:
        status: Of HTTP.
        body: Its bytes.
        content_type: Of the body.
    """

    status: int
    body: bytes
    content_type: str = JSON


Route = Callable[[], Answer]


class HttpServer:
    """Serves on one port from `start` to `stop`.

    Args:
        address: IP address or host name to listen on; `::` is for IPv4, too.
        port: TCP port.
        routes: From a path to what answers it at once.
        slow_routes: From a path to what answers it on another thread.
        limit_s: Seconds that a connection gets.
    """

    def __init__(
        self,
        address: str,
        port: int,
        routes: Mapping[str, Route],
        slow_routes: Mapping[str, Route],
        limit_s: float = LIMIT_S,
    ) -> None:
        self._address = address
        self._port = port
        self._routes = dict(routes)
        self._slow_routes = dict(slow_routes)
        self._limit_s = limit_s
        self._connections: dict[asyncio.StreamWriter, None] = {}  # the oldest first
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._executor: ThreadPoolExecutor
        self._thread: threading.Thread

    def start(self) -> None:
        """Open the port and begin to answer.

        Raises:
            OSError: The port is taken, or can't be opened.
        """
        listening = _listening_socket(self._address, self._port)
        self._executor = ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="scrape")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, listening), name="health", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port; connections that are open are dropped."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_S)

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        server = await asyncio.start_server(
            self._connected, sock=listening, limit=MOST_REQUEST_BYTES
        )
        await self._stopping.wait()
        server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = None
        if len(self._connections) > MOST_CONNECTIONS:
            next(iter(self._connections)).transport.abort()
        try:
            async with asyncio.timeout(self._limit_s):
                await self._answer(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()  # what it has not read yet is not sent
        finally:
            self._connections.pop(writer, None)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer, is_head = _error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), False
        else:
            method, path = _request_line(head)
            answer, is_head = await self._find(method, path), method == "HEAD"
        writer.write(_response(answer, is_head=is_head))
        await writer.drain()

    async def _find(self, method: str, path: str) -> Answer:
        if method not in ("GET", "HEAD"):
            known = method.isalpha() and method.isupper()
            return _error(HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.BAD_REQUEST)
        if route := self._routes.get(path):
            return route()
        slow = self._slow_routes.get(path)
        if slow is None:
            return _error(HTTPStatus.NOT_FOUND)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, slow)
        except Exception:
            logger.exception("Can't answer %s", path)
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR)


def _listening_socket(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    both = address == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((address, port), family=family, dualstack_ipv6=both)


def _request_line(head: bytes) -> tuple[str, str]:
    """Method and path; both empty if it is not HTTP."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "", ""
    return words[0], words[1].partition("?")[0]


def _error(status: HTTPStatus) -> Answer:
    return Answer(status, f"{status.phrase}\n".encode(), TEXT)


def _response(answer: Answer, *, is_head: bool) -> bytes:
    lines = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        *(("Allow: GET, HEAD",) if answer.status == HTTPStatus.METHOD_NOT_ALLOWED else ()),
        "Cache-Control: no-store",
        "Connection: close",
    )
    head = "\r\n".join((*lines, "", "")).encode("latin-1")
    return head if is_head else head + answer.body
