"""clip-worker that writes down what it begins, and takes its time over it.

Environment: `MARKS` (a folder; each process appends to the file of its process id), `DECODE_S`
(seconds that each decode takes more).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_engine.preprocess import Preprocessor
from worker import app

if TYPE_CHECKING:
    from torch import Tensor

_decode = Preprocessor.from_bytes


def _mark(what: str) -> None:
    file = os.open(
        Path(os.environ["MARKS"]) / str(os.getpid()), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
    )
    os.write(file, f"{what}\n".encode())
    os.close(file)


def _mark_and_decode(self: Preprocessor, data: bytes, *rest: Any) -> Tensor:
    _mark("decode")
    time.sleep(float(os.environ.get("DECODE_S", "0")))
    return _decode(self, data, *rest)


@app.task(name="marking.note")
def note(number: int) -> int:
    """Write down that it runs."""
    _mark(f"note-{number}")
    return number


Preprocessor.from_bytes = _mark_and_decode  # type: ignore[method-assign]  # a test's probe

__all__ = ["app"]
