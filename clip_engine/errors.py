"""The errors that `clip_engine` raises, by what the caller should do about them.

::

    ClipEngineError
    ├── InputError              fix the call: labels, k, template, text
    │   └── TextTooLongError    a text has more tokens than the model's context
    ├── ImageError              fix or drop this image; has a `code`
    ├── ModelNotFoundError      fix the model's name or path
    ├── CheckpointError         the file is not a CLIP checkpoint that can be read
    ├── DownloadError           weights could not be fetched: network, disk, checksum
    ├── DeviceError             the requested device does not exist
    ├── DeviceMemoryError       not even one row fits into the device's memory at the moment
    └── DeviceLostError         the device failed for good; only a fresh process may use it again

Every message is one sentence that quotes the offending value and says what would be right.
"""

from __future__ import annotations


class ClipEngineError(Exception):
    """Root of all errors of this package."""


class InputError(ClipEngineError, ValueError):
    """An argument is wrong: labels, k, template, text or an array's shape."""


class TextTooLongError(InputError):
    """A text has more tokens than the model's context length."""


class ImageError(ClipEngineError, ValueError):
    """A picture can't be used.

    Args:
        message: One sentence for a person.
        code: Stable, for programs: `DECODE_UNRECOGNIZED` (no known image format),
            `DECODE_TRUNCATED`, `DECODE_BROKEN`, `DECODE_TOO_EXPENSIVE`, `DECODE_CRASHED`,
            `TOO_MANY_PIXELS`, `EMPTY_IMAGE`.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


class ModelNotFoundError(ClipEngineError, LookupError):
    """No model has this name, and no file lies at this path."""


class CheckpointError(ClipEngineError):
    """A file is not a CLIP checkpoint, or not one that can be read."""


class DownloadError(ClipEngineError, OSError):
    """Published weights could not be fetched, stored or verified."""


class DeviceError(ClipEngineError, RuntimeError):
    """The device asked for does not exist on this machine."""


class DeviceMemoryError(ClipEngineError, MemoryError):
    """The device's memory, or the machine's for a CPU, does not hold a batch of 1."""


class DeviceLostError(ClipEngineError, RuntimeError):
    """The device failed in a way that this process can't recover from; end it."""
