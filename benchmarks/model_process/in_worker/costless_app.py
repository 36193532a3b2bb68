"""The worker application of the tree that is imported, with an image tower that costs nothing.

    celery -A costless_app worker

Environment: `PROBE_FILE`, where it writes twice a second what an observer outside the process needs
to know: see `benchmarks.model_process.probe`, which reads it. The module runs in trees of different
commits, so it uses only what all of them have.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from celery.signals import worker_ready
from gil_layout import find_gil, thread_states
from torch import Tensor

import worker
from clip_engine.engine import Engine
from worker import app

PAUSE_S = 0.5
_encoded = 0


def _constant_features(self: Engine, pixels: Sequence[Tensor]) -> Tensor:
    """float32 `[B, D]`, each row of length 1."""
    global _encoded  # noqa: PLW0603  # a probe: shows that this tower was used
    _encoded += len(pixels)
    # Earlier commits, which are measured too, have the model itself there, and its config.
    dimensions = getattr(self.model, "config", self.model).embed_dim
    return torch.full((len(pixels), dimensions), dimensions**-0.5)


def _write(path: Path, gil: int | None) -> None:
    states = thread_states() if gil else {}
    threads = [
        {"name": one.name, "native_id": one.native_id, "state": states.get(one.ident)}
        for one in threading.enumerate()
    ]
    found = {"root": str(Path(worker.__file__).parents[1]), "encoded": _encoded, "gil": gil}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found | {"threads": threads}))
    part.replace(path)


def _serve() -> None:
    path, gil = Path(os.environ["PROBE_FILE"]), find_gil()
    while True:
        _write(path, gil)
        time.sleep(PAUSE_S)


@worker_ready.connect
def _start_probe(**_: object) -> None:
    threading.Thread(target=_serve, name="probe", daemon=True).start()


Engine.encode_pixels = _constant_features  # type: ignore[method-assign]  # what this module is for

__all__ = ["app"]
