"""clip-worker that leaves unknown tasks to others for as long as a worker may take to start."""

from __future__ import annotations

from worker import app
from worker.delivery import router

router.UNKNOWN_PATIENCE_S = 60.0

__all__ = ["app"]
