"""clip-worker whose forward pass hangs, is slow or dies, or loses its device, for marked pictures.

A mark is the grey level of a picture of one colour, as `picture` makes it.
"""

from __future__ import annotations

import io
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from PIL import Image

from clip_engine.engine import Engine
from clip_engine.errors import DeviceLostError
from worker import app

if TYPE_CHECKING:
    from torch import Tensor

HANGS, KILLS, LOSES_DEVICE, IS_SLOW = 71, 73, 77, 79
SLOW_S = 0.02

_encode = Engine.encode_pixels


def picture(mark: int) -> bytes:
    """A picture that does what its mark says."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (mark, mark, mark)).save(file, "PNG")
    return file.getvalue()


def _fail_or_encode(self: Engine, pixels: Any) -> Tensor:
    marks = [int(each[0, 0, 0]) for each in pixels if (each == each[0, 0, 0]).all()]
    time.sleep(SLOW_S * marks.count(IS_SLOW))
    if HANGS in marks:
        time.sleep(600)
    if KILLS in marks:
        os.kill(os.getpid(), signal.SIGKILL)
    if LOSES_DEVICE in marks:
        raise DeviceLostError("CUDA error: an injected ECC error")
    return _encode(self, pixels)


Engine.encode_pixels = _fail_or_encode  # type: ignore[method-assign]  # a test's fault

__all__ = ["app"]
