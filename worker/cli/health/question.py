"""Asks a metrics port about its worker, with a limit of time for the whole exchange."""

from __future__ import annotations

import json
import socket
import time
from typing import NamedTuple

MOST_BYTES = 64 * 1024
OK = 200


class Reply(NamedTuple):
    """What a worker says of itself.

    Attributes:
        is_well: Whether it is live, or ready: as it was asked.
        state: See `worker.health.health.State`.
        sentence: The same in words.
        workers: How many workers its supervisor runs, on neighbouring ports.
    """

    is_well: bool
    state: str
    sentence: str
    workers: int


class NoReplyError(Exception):
    """Nobody answers, or not as a worker does; the message is a sentence."""


class Place(NamedTuple):
    """Where a worker is asked."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def ask(place: Place, path: str, timeout_s: float) -> Reply:
    """Ask a worker.

    Args:
        place: Of its metrics port.
        path: What is asked, one of `worker.health.paths`.
        timeout_s: Longest wait for the whole answer.

    Raises:
        NoReplyError: There was none in time, or none of a worker.
    """
    try:
        answer = _exchange(place, path, timeout_s)
    except TimeoutError as error:
        raise NoReplyError(
            f"The worker at {place} did not answer within {timeout_s:g} s: it hangs, or its "
            "machine has no time for it."
        ) from error
    except OSError as error:
        raise NoReplyError(
            f"Nothing answers at {place} ({error.strerror or error}): no worker runs there, or "
            "its CLIP_WORKER_METRICS_PORT is another one."
        ) from error
    return _read(answer, place)


def _exchange(place: Place, path: str, timeout_s: float) -> bytes:
    end = time.monotonic() + timeout_s
    request = f"GET {path} HTTP/1.0\r\nHost: {place.host}\r\n\r\n"
    received = bytearray()
    with socket.create_connection(place, timeout_s) as connection:
        connection.sendall(request.encode())
        while len(received) <= MOST_BYTES:
            connection.settimeout(max(0.001, end - time.monotonic()))
            part = connection.recv(MOST_BYTES)
            if not part:
                break
            received += part
            if time.monotonic() > end:  # one that sends a byte now and then
                raise TimeoutError
    return bytes(received)


def _read(answer: bytes, place: Place) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        status = int(head.split(b" ", 2)[1])
        said = json.loads(body)
        return Reply(status == OK, str(said["state"]), str(said["sentence"]), int(said["workers"]))
    except (IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise NoReplyError(
            f"What answers at {place} is not a worker's metrics port; check the port and "
            "CLIP_WORKER_METRICS_PORT."
        ) from error
