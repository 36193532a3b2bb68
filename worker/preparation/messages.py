"""Messages between the pool and a preparation process.

A message is a length, a JSON array that begins with its kind, and, of `work`, the bytes that it
speaks of. A process handles hostile bytes and may be under somebody else's control, so what it
sends is never unpickled, and is checked field by field.

To a process: `work`, `grant` or `refuse` (answers to `want`) and `give_back` (send what is done,
and return what is not begun). From it: `done`, `want` (to decode a large picture now), `returned`.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.preparation.error_codec import PreparationError, decode_error, encode_error

LENGTH = struct.Struct("!I")
MAX_REPLY_BYTES = 1024 * 1024
GIVE_BACK, GRANT, REFUSE = ["give_back"], ["grant"], ["refuse"]


class ProtocolError(Exception):
    """A process sent what no sound one sends."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one picture ended in a process: its pixels are in its slot, unless there is an error."""

    ticket: int
    fetch_s: float
    decode_s: float
    error: PreparationError | None


@dataclass(frozen=True, slots=True)
class Work:
    """A picture as a process is told of it; `data_bytes` is None where it is to be fetched."""

    ticket: int
    slot: int
    uri_bytes: int
    data_bytes: int | None
    within_s: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """Pictures that a process is through with."""

    outcomes: list[Outcome]


@dataclass(frozen=True, slots=True)
class Want:
    """A process would decode a large picture, with this much memory beyond its own."""

    ticket: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Returned:
    """Pictures that a process gives back untouched."""

    tickets: list[int]


Reply = Done | Want | Returned


def message(fields: Sequence[object]) -> bytes:
    """A message without bytes behind it."""
    text = json.dumps(fields, separators=(",", ":")).encode()
    return LENGTH.pack(len(text)) + text


def work_message(works: Sequence[Work]) -> bytes:
    """Announces pictures; of each, its URI and its file follow."""
    return message(
        ["work", [[w.ticket, w.slot, w.uri_bytes, w.data_bytes, w.within_s] for w in works]]
    )


def done_message(outcomes: Sequence[Outcome]) -> bytes:
    """Reports pictures that are through."""
    rows = [
        [o.ticket, round(o.fetch_s, 6), round(o.decode_s, 6), o.error and encode_error(o.error)]
        for o in outcomes
    ]
    return message(["done", rows])


def receive(connection: socket.socket) -> list[object]:
    """The next message from the pool.

    Raises:
        EOFError: The pool is gone.
    """
    (length,) = LENGTH.unpack(receive_bytes(connection, LENGTH.size))
    fields: list[object] = json.loads(receive_bytes(connection, length))
    return fields


def receive_bytes(connection: socket.socket, size: int) -> bytearray:
    """Just so many bytes."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        received = connection.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return data


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
            yield _reply(text)


def _reply(text: bytes) -> Reply:
    try:
        match json.loads(text):
            case ["done", list(rows)]:
                return Done([_outcome(row) for row in rows])
            case ["want", int(ticket), int(size_bytes)] if size_bytes >= 0:
                return Want(ticket, size_bytes)
            case ["returned", list(tickets)] if all(type(each) is int for each in tickets):
                return Returned(tickets)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"no message: {error}") from error
    raise ProtocolError("no message that is known")


def _outcome(row: object) -> Outcome:
    match row:
        case [int(ticket), int() | float() as fetch_s, int() | float() as decode_s, fields]:
            error = None if fields is None else decode_error(fields)
            return Outcome(ticket, _seconds(fetch_s), _seconds(decode_s), error)
    raise ValueError("no outcome")


def _seconds(value: float) -> float:
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value} seconds")
    return float(value)
