"""clip-worker with marks that make a decoder hang, slow or die, or a device be lost."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from clip_engine.engine import Engine
from clip_engine.errors import DeviceLostError
from clip_engine.preprocess import Preprocessor
from worker import app

if TYPE_CHECKING:
    from torch import Tensor

HANGS = b"HANGS"
KILLS = b"KILLS"
LOSES_DEVICE = b"LOSES DEVICE"
IS_SLOW = b"IS SLOW"
SLOW_S = 0.02

_decode = Preprocessor.from_bytes
_encode = Engine.encode_pixels


def _hang_or_decode(self: Preprocessor, data: bytes, *rest: Any) -> Tensor:
    if HANGS in data:
        time.sleep(600)
    if IS_SLOW in data:
        time.sleep(SLOW_S)
    if KILLS in data:
        os.kill(os.getpid(), signal.SIGKILL)
    pixels = _decode(self, data, *rest)
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
