"""Each kind of source reserves memory before it uses it."""

from __future__ import annotations

import base64
from ipaddress import ip_network
from typing import TYPE_CHECKING

import fsspec
import pytest
from support.scripted_server import answering, response, scripted_server

from clip_worker.errors import TemporaryError
from worker.sources import Fetcher, FetchLimits, FetchPolicy
from worker.sources.reservation import FIRST_BYTES

if TYPE_CHECKING:
    import socket
    from pathlib import Path

SMALL, LARGE = b"s" * 1000, b"l" * (2 * FIRST_BYTES)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMITS = FetchLimits(max_bytes=4 * FIRST_BYTES)
KINDS = ["length", "chunked", "close", "file", "data", "escaped", "object"]


class Places:
    """Puts an image where a URI of each kind leads to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.answer = b""
        policy = FetchPolicy(
            file_roots=(folder,),
            allow_networks=(ip_network("127.0.0.0/8"),),
            object_store_schemes=("memory",),
        )
        self.fetcher = Fetcher(policy, LIMITS)
        self.port = 0

    def serve(self, head: str, connection: socket.socket) -> None:
        answering(self.answer)(head, connection)

    def put(self, kind: str, data: bytes) -> str:
        if kind == "file":
            (self._folder / "cat.jpg").write_bytes(data)
            return (self._folder / "cat.jpg").as_uri()
        if kind == "data":
            return "data:;base64," + base64.b64encode(data).decode()
        if kind == "escaped":
            return "data:," + data.decode() + "%20"
        if kind == "object":
            fsspec.filesystem("memory").pipe_file("/pets/cat.jpg", data)
            return "memory://pets/cat.jpg"
        self.answer = {
            "length": response(data),
            "chunked": CHUNKED + b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n",
            "close": b"HTTP/1.1 200 OK\r\n\r\n" + data,
        }[kind]
        return f"http://127.0.0.1:{self.port}/cat.jpg"


@pytest.fixture
def places(tmp_path):
    places = Places(tmp_path)
    with scripted_server(places.serve) as server:
        places.port = server.port
        yield places
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fetch_reserves_what_it_needs_before_it_reads(places, kind):
    small, large = [0], []
    assert places.fetcher.fetch(places.put(kind, SMALL), small.append).rstrip() == SMALL
    assert places.fetcher.fetch(places.put(kind, LARGE), large.append).rstrip() == LARGE
    assert max(small) <= FIRST_BYTES
    assert len(LARGE) <= max(large) <= LIMITS.max_bytes


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_for_which_there_is_no_room_is_not_read(places, kind):
    requested = []

    def reserve(size_bytes):
        if size_bytes > FIRST_BYTES:
            requested.append(size_bytes)
            raise TemporaryError("There is no room.")

    with pytest.raises(TemporaryError, match="There is no room"):
        places.fetcher.fetch(places.put(kind, LARGE), reserve)
    assert requested[0] >= len(LARGE)
