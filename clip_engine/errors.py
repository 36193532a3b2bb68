"""The exceptions of `clip_engine`, by what the caller should do about them.

::

    ClipEngineError
    ├── InputError              fix the call: labels, k, templates, texts
    │   └── TextTooLongError    a text has more tokens than the model's context
    ├── ImageError              fix or skip this image; has a `code`
    ├── ModelNotFoundError      fix the model's name or path
    ├── CheckpointError         give a CLIP checkpoint that can be read
    │   └── Float16RangeError   the model doesn't work in float16: run it in bfloat16
    ├── DownloadError           weights can't be downloaded: network, disk, checksum
    ├── DeviceError             choose a device that this machine has
    ├── DeviceMemoryError       free some of the device's memory: not even one row fits
    └── DeviceLostError         restart the process: the device failed for good

Every message is one sentence that quotes the offending value and says how to fix it.
"""

from __future__ import annotations


class ClipEngineError(Exception):
    """Base class of all exceptions of this package."""


class InputError(ClipEngineError, ValueError):
    """An argument is invalid: labels, k, a template, a text or an array's shape."""


class TextTooLongError(InputError):
    """A text has more tokens than the model's context length."""


class ImageError(ClipEngineError, ValueError):
    """An image can't be decoded, or is refused.

    Args:
        message: One sentence for people.
        code: Stable name for programs: `DECODE_UNRECOGNIZED` (no known image format),
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
    """The model is neither a known name nor an existing path."""


class CheckpointError(ClipEngineError):
    """A file is not a CLIP checkpoint, or can't be read."""


class Float16RangeError(CheckpointError):
    """The image tower's activations are too large for float16."""


class DownloadError(ClipEngineError, OSError):
    """Published weights can't be downloaded, stored or verified."""


class DeviceError(ClipEngineError, RuntimeError):
    """This machine doesn't have the requested device."""


class DeviceMemoryError(ClipEngineError, MemoryError):
    """Not even a batch of 1 fits into the device's memory, which for a CPU is the machine's."""


class DeviceLostError(ClipEngineError, RuntimeError):
    """The device failed in a way that the process can't recover from; restart it."""
