"""A worker of tests/integration/faulty_app.py, which does wrong what a marked image says."""

from __future__ import annotations

import sys
from pathlib import Path

from support.worker_process import WorkerProcess


def faulty(redis_url: str, folder: Path, **settings: str) -> WorkerProcess:
    path = Path(__file__).parents[1] / "integration"
    command = (
        *("env", f"PYTHONPATH={path}", sys.executable, "-m", "celery", "-A", "faulty_app"),
        *("worker", "-n", "faulty@%h", "--loglevel", "info"),
    )
    return WorkerProcess(redis_url, folder, name="faulty", command=command, lease_s="3", **settings)
