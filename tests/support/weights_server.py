"""A publisher of weights that can break off, ignore ranges, lie about lengths and be busy."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.scripted_server import response

from clip_engine.weights.cache import fetch_weights
from clip_engine.weights.catalog import Published

if TYPE_CHECKING:
    import socket

    from support.scripted_server import ScriptedServer

DATA = random.Random(0).randbytes(300_000)


@dataclass
class WeightsServer:
    """The script of a server that hands out one file.

    Attributes:
        data: The file.
        break_after: For each request in turn, after how many body bytes to hang up; then never.
        knows_ranges: Whether a `Range` header is honoured.
        most_bytes: The longest piece given for a range.
        statuses: For each request in turn, a status to answer with instead; then none.
        gate: What a body waits for.
    """

    data: bytes = DATA
    break_after: list[int] = field(default_factory=list)
    knows_ranges: bool = True
    most_bytes: int = 10**9
    statuses: list[str] = field(default_factory=list)
    gate: threading.Event | None = None

    def __call__(self, head: str, connection: socket.socket) -> None:
        if self.statuses:
            connection.sendall(response(status=self.statuses.pop(0)))
            return
        if self.gate:
            self.gate.wait(60)
        answer = self._answer(head)
        cut = self.break_after.pop(0) if self.break_after else len(self.data)
        header_bytes = answer.index(b"\r\n\r\n") + 4
        connection.sendall(answer[: header_bytes + cut])

    def _answer(self, head: str) -> bytes:
        match = re.search(r"^Range: bytes=(\d+)-\r$", head, re.MULTILINE)
        if not match or not self.knows_ranges:
            return response(self.data)
        start, size = int(match[1]), len(self.data)
        if start >= size:
            return response(status="416 Range Not Satisfiable", Content_Range=f"bytes */{size}")
        piece = self.data[start : start + self.most_bytes]
        covered = f"bytes {start}-{start + len(piece) - 1}/{size}"
        return response(piece, "206 Partial Content", Content_Range=covered)


def published(base_url: str, data: bytes = DATA) -> Published:
    """A catalog entry for these bytes at this address."""
    digest = hashlib.sha256(data).hexdigest()
    return Published("tiny", f"{base_url}{digest}/tiny.pt", digest, 224)


def ranges(server: ScriptedServer) -> list[int]:
    """The first byte that each request asked for, 0 where it asked for the whole."""
    found = [re.search(r"Range: bytes=(\d+)-", head) for head in server.heads]
    return [int(match[1]) if match else 0 for match in found]


def fetch(entry: Published, cache: Path, **options: Any) -> Path:
    """Fetch weights without pauses between the attempts."""
    return fetch_weights(entry, cache, pause=lambda _seconds: None, **options)
