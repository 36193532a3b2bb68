"""clip-worker with a decoder that hangs on a mark, and a device that is lost on another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from clip_engine.engine import Engine
from clip_engine.errors import DeviceLostError
from clip_engine.preprocess import Preprocessor
from worker import app

if TYPE_CHECKING:
    from torch import Tensor

HANGS = b"HANGS"
LOSES_DEVICE = b"LOSES DEVICE"

_decode = Preprocessor.from_bytes
_encode = Engine.encode_pixels


def _hang_or_decode(self: Preprocessor, data: bytes) -> Tensor:
    if HANGS in data:
        time.sleep(600)
    pixels = _decode(self, data)
    if LOSES_DEVICE in data:
        pixels[:] = 77
    return pixels


def _lose_or_encode(self: Engine, pixels: Any) -> Tensor:
    if any((picture == 77).all() for picture in pixels):
        raise DeviceLostError("CUDA error: an injected ECC error")
    return _encode(self, pixels)


Preprocessor.from_bytes = _hang_or_decode  # type: ignore[method-assign]  # a test's fault
Engine.encode_pixels = _lose_or_encode  # type: ignore[method-assign]  # likewise

__all__ = ["app"]
