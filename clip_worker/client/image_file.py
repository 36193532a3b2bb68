"""Reads an image file on the producer's machine, to be uploaded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clip_worker.contract.uri import MAX_IMAGE_BYTES
from clip_worker.errors import ImageUnavailableError, InvalidRequestError
from clip_worker.quoting import quote

if TYPE_CHECKING:
    from pathlib import Path

REDIS_MAX_BYTES = 512 * 1024 * 1024 - 1  # the largest string that Redis stores


def read_image(path: Path, name: str | None = None, max_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """Read an image file, unless it is too large.

    Args:
        path: Path of the file.
        name: Its name in errors; the path by default.
        max_bytes: Its largest size.

    Raises:
        ImageUnavailableError: `READ_FAILED`, or `FETCH_TOO_LARGE`.
    """
    shown = quote(name or str(path))
    try:
        with path.open("rb") as file:
            check_size(os.fstat(file.fileno()).st_size, shown, max_bytes)
            data = file.read(max_bytes + 1)  # of a pipe the size is not known before
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ImageUnavailableError(f"{shown} can't be read: {reason}.", "READ_FAILED") from error
    check_size(len(data), shown, max_bytes)
    return data


def check_size(size_bytes: int, shown: str, max_bytes: int) -> None:
    """Check that an image is not too large to be sent.

    Raises:
        ImageUnavailableError: `FETCH_TOO_LARGE`.
    """
    if size_bytes > max_bytes:
        raise ImageUnavailableError(
            f"{shown} has {size_bytes} bytes, and this client sends at most {max_bytes} "
            "(max_upload_bytes); make the image smaller, or raise this limit and the workers' "
            "(CLIP_WORKER_MAX_BYTES).",
            "FETCH_TOO_LARGE",
        )


def check_max_bytes(max_bytes: int) -> int:
    """Check a client's `max_upload_bytes`, and return it.

    Raises:
        InvalidRequestError: It is not in 1 to the most that Redis stores in one value.
    """
    if not 1 <= max_bytes <= REDIS_MAX_BYTES:
        raise InvalidRequestError(
            f"max_upload_bytes is {max_bytes!r}; pass 1 to {REDIS_MAX_BYTES}, the most that Redis "
            "stores in one value."
        )
    return max_bytes
