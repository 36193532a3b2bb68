"""Starts a Redis, a worker with the demo model and the gallery, all on this machine.

pip install "clip-worker[demo]" "fastapi>=0.165" uvicorn
python examples/gallery/demo.py
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn

from worker.cli.demo.embedded_redis import embedded_redis
from worker.cli.demo.worker import clear_settings, run_demo_worker


def main() -> None:
    """Run all three until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    clear_settings()
    with TemporaryDirectory(prefix="clip-worker-gallery-") as name, embedded_redis() as redis:
        folder = Path(name).resolve()
        os.environ |= {"REDIS_URL": redis.url, "CLIP_WORKER_EMBEDDING_STORE": redis.url}
        with run_demo_worker(redis, folder, [folder]) as worker:
            print("Starting the worker.", flush=True)
            worker.wait_until_ready()
            print(f"The gallery is at http://127.0.0.1:{port}", flush=True)
            uvicorn.run(
                "app:app", port=port, log_level="warning", timeout_graceful_shutdown=1
            )  # `app` is beside this file


if __name__ == "__main__":
    main()
