"""Reads an image file on the producer's machine, to be uploaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_worker.errors import ImageUnavailableError
from clip_worker.quoting import quote

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 512 * 1024 * 1024 - 1  # the largest string that Redis stores


def read_image(path: Path, name: str | None = None) -> bytes:
    """Read an image file.

    Args:
        path: Path of the file.
        name: Its name in errors; the path by default.

    Raises:
        ImageUnavailableError: `READ_FAILED`, or `FETCH_TOO_LARGE`.
    """
    shown = quote(name or str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ImageUnavailableError(f"{shown} can't be read: {reason}.", "READ_FAILED") from error
    check_size(len(data), shown)
    return data


def check_size(size_bytes: int, shown: str) -> None:
    """Check that an image is not too large for Redis.

    Raises:
        ImageUnavailableError: `FETCH_TOO_LARGE`.
    """
    if size_bytes > MOST_BYTES:
        raise ImageUnavailableError(
            f"{shown} is larger than {MOST_BYTES} bytes, the most that Redis stores in one value.",
            "FETCH_TOO_LARGE",
        )
