"""From what goes wrong inside a worker to the errors that callers know."""

from __future__ import annotations

from clip_engine.errors import DeviceLostError, ImageError, InputError, TextTooLongError
from clip_worker.errors import (
    ClipWorkerError,
    ExpiredError,
    ImageInvalidError,
    InvalidRequestError,
    ServiceError,
    TemporaryError,
)
from clip_worker.quoting import quote, redacted, shown_uri


def translate(error: BaseException, image: str) -> ClipWorkerError:
    """The error of `clip_worker.errors` that stands for another, with the other as its cause.

    Args:
        error: Anything that was raised while an image was processed.
        image: The image's URI, for the sentence.
    """
    translated = _translate(error, image)
    if translated is not error:
        translated.__cause__ = error
    return translated


def stopping(image: str) -> TemporaryError:
    """The error of an image task that is not done when its worker stops."""
    return TemporaryError(f"{shown_uri(image)}: the worker is stopping; send it again.", "STOPPING")


def expired(deadline: float, now: float, before: str) -> ExpiredError:
    """The error of an image task whose deadline has passed.

    Args:
        deadline: Unix time in seconds.
        now: Unix time in seconds.
        before: What is not done any more, for the sentence.
    """
    return ExpiredError(
        f"The deadline {deadline:.3f} passed {max(0.0, now - deadline):.1f} s before {before}; "
        "give a later one or add workers."
    )


def _translate(error: BaseException, image: str) -> ClipWorkerError:
    if isinstance(error, ClipWorkerError):
        return error
    if isinstance(error, ImageError):
        return ImageInvalidError(f"{shown_uri(image)}: {error.message}", error.code)
    if isinstance(error, InputError):
        is_long = isinstance(error, TextTooLongError)
        return InvalidRequestError(str(error), "LABEL_TOO_LONG" if is_long else None)
    if isinstance(error, MemoryError):
        return TemporaryError(
            f"{shown_uri(image)}: the worker ran out of memory; send it again.", "OUT_OF_MEMORY"
        )
    if isinstance(error, DeviceLostError):
        return TemporaryError("The worker's device failed; send the task again.", "DEVICE_LOST")
    reason = quote(redacted(str(error), image))
    return ServiceError(
        f"{shown_uri(image)}: the worker failed with {type(error).__name__} ({reason}); its log "
        "says where."
    )
