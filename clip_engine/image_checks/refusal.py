"""Limits and errors common to all formats."""

from __future__ import annotations

from clip_engine.errors import ImageError

MOST_METADATA_BYTES = 16 * 1024 * 1024
MOST_JUNK_BYTES = 64 * 1024  # which decoders skip one by one
MOST_BLOCKS = 20_000  # segments, chunks or blocks, each a few microseconds in Python


def too_expensive(what: str, limit: str) -> ImageError:
    """The error for a file that is refused.

    >>> print(too_expensive("The JPEG has 20000 scans", "1000"))
    The JPEG has 20000 scans, and the limit is 1000; save the image again.
    """
    return ImageError(
        f"{what}, and the limit is {limit}; save the image again.", "DECODE_TOO_EXPENSIVE"
    )


def check_metadata(name: str, size_bytes: int) -> None:
    """Refuse a file with too much metadata, which decoders copy.

    Raises:
        ImageError: `DECODE_TOO_EXPENSIVE`.
    """
    if size_bytes > MOST_METADATA_BYTES:
        what = f"The {name} has {size_bytes} bytes of metadata"
        raise too_expensive(what, f"{MOST_METADATA_BYTES}")


def check_blocks(name: str, blocks: int) -> None:
    """Refuse a file with too many blocks.

    Raises:
        ImageError: `DECODE_TOO_EXPENSIVE`.
    """
    if blocks > MOST_BLOCKS:
        raise too_expensive(f"The {name} has more than {MOST_BLOCKS} blocks", f"{MOST_BLOCKS}")


def check_junk(name: str, junk_bytes: int) -> None:
    """Refuse a file with too many bytes between its blocks.

    Raises:
        ImageError: `DECODE_TOO_EXPENSIVE`.
    """
    if junk_bytes > MOST_JUNK_BYTES:
        raise too_expensive(
            f"The {name} has more than {MOST_JUNK_BYTES} meaningless bytes",
            f"{MOST_JUNK_BYTES}",
        )
