"""Errors shared by several kinds of URIs."""

from __future__ import annotations

from clip_worker.errors import ImageUnavailableError, InvalidRequestError
from clip_worker.quoting import shown_uri


def bad_uri(uri: str, reason: str) -> InvalidRequestError:
    """The error for a malformed URI.

    >>> str(bad_uri("file:cat.jpg", "has no absolute path"))
    "The URI 'file:cat.jpg' has no absolute path."
    """
    return InvalidRequestError(f"The URI {shown_uri(uri)} {reason}.", "BAD_URI")


def too_large(uri: str, max_bytes: int) -> ImageUnavailableError:
    """The error for an image above the size limit, whatever its scheme."""
    return ImageUnavailableError(
        f"The image at {shown_uri(uri)} is larger than {max_bytes} bytes, the most that this "
        "worker accepts (CLIP_WORKER_MAX_BYTES).",
        "FETCH_TOO_LARGE",
    )
