"""Errors as plain values, and back. Only classes of the table below come back."""

from __future__ import annotations

import re
import sys
import traceback
from typing import TypeAlias

from clip_engine.errors import ImageError
from clip_worker import errors
from clip_worker.quoting import quote, redacted, shown_uri

PreparationError: TypeAlias = errors.ClipWorkerError | ImageError

_CLASSES: dict[str, type[PreparationError]] = {
    each.__name__: each
    for each in (
        errors.InvalidRequestError,
        errors.ImageUnavailableError,
        errors.ImageInvalidError,
        errors.ExpiredError,
        errors.TemporaryError,
        errors.ServiceError,
        ImageError,
    )
}
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_MOST_CHARACTERS = 4000


def encode_error(error: PreparationError) -> list[object]:
    """An error as `[class, message, code, retry_after_s]`."""
    retry_after_s = getattr(error, "retry_after_s", None)
    return [type(error).__name__, error.message[:_MOST_CHARACTERS], error.code, retry_after_s]


def decode_error(fields: object) -> PreparationError:
    """The error that was encoded.

    Raises:
        ValueError: It is none that `encode_error` gives.
    """
    match fields:
        case [str(name), str(message), str(code), None | int() | float() as retry_after_s] if (
            name in _CLASSES and _CODE.fullmatch(code) and len(message) <= _MOST_CHARACTERS
        ):
            error = _CLASSES[name](message, code)
            if isinstance(error, errors.TemporaryError) and retry_after_s is not None:
                error.retry_after_s = float(retry_after_s)
            return error
    raise ValueError("no error that is known")


def known_error(error: Exception, uri: str) -> PreparationError:
    """The error itself if a caller may see it, else a `ServiceError`, with its trace on stderr."""
    if isinstance(error, errors.ClipWorkerError | ImageError):
        # The frames hold the image's bytes, for as long as the error waits to be sent.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
    trace = redacted("".join(traceback.format_exception(error)), uri)
    print(f"Preparing {shown_uri(uri)} failed:\n{trace}", file=sys.stderr, flush=True)  # noqa: T201
    reason = quote(redacted(str(error), uri))
    return errors.ServiceError(
        f"{shown_uri(uri)}: the worker failed with {type(error).__name__} ({reason}); its log "
        "tells where."
    )
