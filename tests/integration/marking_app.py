"""clip-worker that writes down what it begins, and takes its time over it.

Environment: `MARKS` (a folder; each process appends to the file of its process id), `ENCODE_S`
(seconds that each picture's forward pass takes more).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_engine.engine import Engine
from worker import app

if TYPE_CHECKING:
    from torch import Tensor

_encode = Engine.encode_pixels


def _mark(what: str) -> None:
    file = os.open(
        Path(os.environ["MARKS"]) / str(os.getpid()), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
    )
    os.write(file, f"{what}\n".encode())
    os.close(file)


def _mark_and_encode(self: Engine, pixels: Any) -> Tensor:
    for _ in pixels:
        _mark("encode")
        time.sleep(float(os.environ.get("ENCODE_S", "0")))
    return _encode(self, pixels)


@app.task(name="marking.note")
def note(number: int) -> int:
    """Write down that it runs."""
    _mark(f"note-{number}")
    return number


Engine.encode_pixels = _mark_and_encode  # type: ignore[method-assign]  # a test's probe

__all__ = ["app"]
