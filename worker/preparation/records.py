"""What goes into the preparation pool, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

from clip_engine.errors import ClipEngineError
from clip_worker.errors import ClipWorkerError


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image to prepare.

    Attributes:
        key: The caller's name for it, unique among those in flight.
        uri: Where it is, or was, fetched from.
        data: Its file, where the caller has it already; else it is fetched from the URI.
        within_s: Seconds until its deadline.
        tenant: Whose turn it takes; empty for none.
    """

    key: int
    uri: str
    data: bytes | None = None
    within_s: float | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """An image whose file is there, and that waits for an answer: to be decoded or not.

    Attributes:
        key: The request's.
        content: SHA-256 of its file, in hexadecimal.
    """

    key: int
    content: str


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """What came of a request: a slot or an error, or neither if it was not to be decoded.

    Attributes:
        key: The request's.
        slot: Where its pixels are in `PreparationPool.images`.
        error: Why it could not be fetched or decoded.
        fetch_s: Seconds that the fetch took.
        decode_s: Seconds that decoding and resizing took, without waiting for memory.
    """

    key: int
    slot: int | None
    error: ClipWorkerError | ClipEngineError | None
    fetch_s: float = 0.0
    decode_s: float = 0.0
