"""Messages between the pool and a preparation process.

A message is a length and a body. What the pool sends is pickled: `prepare`, with images whose files
follow; `grant` or `refuse`, which answer `want`; `decode` or `drop`, which answer `fetched`; and
`give_back`: return what is not begun. A process handles hostile bytes and may be under somebody
else's control. So what it sends is JSON that is checked field by field, and never unpickled:
`done`, `want` (to decode a large image now), `fetched` (an image's file is there, and has this
hash; sent only where embeddings are kept) and `returned`.
"""

from __future__ import annotations

import json
import math
import pickle
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from worker.preparation.error_codec import PreparationError, decode_error, encode_error

LENGTH = struct.Struct("!I")
MAX_REPLY_BYTES = 1024 * 1024
CONTENT = re.compile(r"[0-9a-f]{64}")


class ProtocolError(Exception):
    """A process sent what no sound one sends."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one image ended in a process: its pixels are in its slot, unless there is an error."""

    slot: int
    fetch_s: float
    decode_s: float
    error: PreparationError | None


@dataclass(frozen=True, slots=True)
class Done:
    """Images that a process has prepared, or failed to."""

    outcomes: list[Outcome]


@dataclass(frozen=True, slots=True)
class Want:
    """A process would decode a large image, with this much memory beyond its own."""

    slot: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """A process has an image's file, and asks whether to decode it."""

    slot: int
    content: str  # SHA-256, in hexadecimal
    fetch_s: float


@dataclass(frozen=True, slots=True)
class Returned:
    """Images that a process returns as they were."""

    slots: list[int]


Reply = Done | Want | Fetched | Returned


def _framed(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body


def prepare(images: Sequence[tuple[int, str, bytes | None]]) -> list[bytes]:
    """Parts of a message that has images prepared.

    Args:
        images: The slot, the URI and the file, unless it is to be fetched, of each.
    """
    files = [file for _, _, file in images if file is not None]
    rows = [(slot, uri, None if file is None else len(file)) for slot, uri, file in images]
    return [_framed(pickle.dumps(("prepare", rows))), *files]


GRANT, REFUSE, GIVE_BACK = (
    _framed(pickle.dumps((kind, []))) for kind in ("grant", "refuse", "give_back")
)


def decode(slot: int) -> bytes:
    """Has an image decoded that was fetched."""
    return _framed(pickle.dumps(("decode", [slot])))


def drop(slot: int) -> bytes:
    """Has an image that was fetched forgotten."""
    return _framed(pickle.dumps(("drop", [slot])))


def receive(connection: socket.socket) -> tuple[str, list[Any]]:
    """The next message from the pool, which has no stranger's bytes in its pickled part.

    Raises:
        EOFError: The pool is gone.
    """
    (length,) = LENGTH.unpack(receive_bytes(connection, LENGTH.size))
    kind, rows = pickle.loads(receive_bytes(connection, length))  # noqa: S301  # of our own pool
    return kind, rows


def receive_bytes(connection: socket.socket, size: int) -> bytes:
    """Just so many bytes.

    Raises:
        EOFError: The pool is gone.
    """
    data = bytearray(size)
    view = memoryview(data)
    while view:
        received = connection.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return bytes(data)


def done(outcomes: Sequence[Outcome]) -> bytes:
    """Reports images that are prepared, or failed."""
    rows = [
        [o.slot, round(o.fetch_s, 6), round(o.decode_s, 6), o.error and encode_error(o.error)]
        for o in outcomes
    ]
    return _reply("done", rows)


def want(slot: int, size_bytes: int) -> bytes:
    """Asks for a grant."""
    return _reply("want", slot, size_bytes)


def fetched(slot: int, content: str, fetch_s: float) -> bytes:
    """Asks whether to decode an image."""
    return _reply("fetched", slot, content, round(fetch_s, 6))


def returned(slots: Sequence[int]) -> bytes:
    """Returns images."""
    return _reply("returned", slots)


def _reply(*fields: object) -> bytes:
    return _framed(json.dumps(fields, separators=(",", ":")).encode())


class ReplyReader:
    """Puts together what a process sends, however it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Take bytes, and give the messages that are whole.

        Raises:
            ProtocolError: They are not as they should be.
        """
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            if length > MAX_REPLY_BYTES:
                raise ProtocolError(f"a message of {length} bytes")
            end = LENGTH.size + length
            if len(self._buffer) < end:
                return
            text = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            yield _parsed(text)


def _parsed(text: bytes) -> Reply:
    try:
        match json.loads(text):
            case ["done", list(rows)]:
                return Done([_outcome(row) for row in rows])
            case ["want", int(slot), int(size_bytes)] if size_bytes >= 0:
                return Want(slot, size_bytes)
            case ["fetched", int(slot), str(content), int() | float() as fetch_s] if (
                CONTENT.fullmatch(content)
            ):
                return Fetched(slot, content, _seconds(fetch_s))
            case ["returned", list(slots)] if all(type(each) is int for each in slots):
                return Returned(slots)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"no message: {error}") from error
    raise ProtocolError("no message that is known")


def _outcome(row: object) -> Outcome:
    match row:
        case [int(slot), int() | float() as fetch_s, int() | float() as decode_s, fields]:
            error = None if fields is None else decode_error(fields)
            return Outcome(slot, _seconds(fetch_s), _seconds(decode_s), error)
    raise ValueError("no outcome")


def _seconds(value: float) -> float:
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value} seconds")
    return float(value)
