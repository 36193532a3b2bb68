"""Limits and errors that the checks of all formats share."""

from __future__ import annotations

from clip_engine.errors import ImageError

MOST_METADATA_BYTES = 16 * 1024 * 1024
MOST_JUNK_BYTES = 64 * 1024  # where a decoder skips bytes one by one
MOST_BLOCKS = 20_000  # segments, chunks or blocks, each a few microseconds of a decoder in Python


def too_expensive(what: str, limit: str) -> ImageError:
    """The error of a file that is refused.

    >>> print(too_expensive("The JPEG has 20000 scans", "1000"))
    The JPEG has 20000 scans, and 1000 is the limit; save the picture anew.
    """
    return ImageError(
        f"{what}, and {limit} is the limit; save the picture anew.", "DECODE_TOO_EXPENSIVE"
    )


def check_metadata(name: str, size_bytes: int) -> None:
    """Refuse metadata that are too large, for a decoder copies them.

    Raises:
        ImageError: `DECODE_TOO_EXPENSIVE`.
    """
    if size_bytes > MOST_METADATA_BYTES:
        what = f"The {name} has {size_bytes} bytes of metadata"
        raise too_expensive(what, f"{MOST_METADATA_BYTES}")


def check_blocks(name: str, blocks: int) -> None:
    """Refuse a file of too many pieces.

    Raises:
        ImageError: `DECODE_TOO_EXPENSIVE`.
    """
    if blocks > MOST_BLOCKS:
        raise too_expensive(f"The {name} has more than {MOST_BLOCKS} blocks", f"{MOST_BLOCKS}")


def check_junk(name: str, junk_bytes: int) -> None:
    """Refuse a file with too many bytes between its pieces.

    Raises:
        ImageError: `DECODE_TOO_EXPENSIVE`.
    """
    if junk_bytes > MOST_JUNK_BYTES:
        raise too_expensive(
            f"The {name} has more than {MOST_JUNK_BYTES} bytes that say nothing",
            f"{MOST_JUNK_BYTES}",
        )
