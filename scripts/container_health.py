"""Health check of the worker's container: does the worker of this host answer a ping?

A worker that is alive but has lost Redis, or hangs, does not. It is asked over Redis, by Celery's
remote control, so `CLIP_WORKER_REMOTE_CONTROL` has to be on, as it is by default. Other workers of
the fleet, which `celery inspect ping` would ask too, don't count.
"""

from __future__ import annotations

import socket
import sys

from worker import app

ANSWER_LIMIT_S = 10.0


def main() -> int:
    """Return 0 if the worker answers in time, else 1."""
    workers = f"*@{socket.gethostname()}"
    asked = app.control.inspect(pattern=workers, matcher="glob", timeout=ANSWER_LIMIT_S, limit=1)
    if asked.ping():
        return 0
    print(f"no worker {workers} answered within {ANSWER_LIMIT_S:g} s", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
