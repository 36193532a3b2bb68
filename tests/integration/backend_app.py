"""A backend's own Celery application, as it was before clip-worker came, and one route for that.

Its workers are Celery's own, on Celery's default queue.
"""

from __future__ import annotations

import os

from celery import Celery

REDIS_URL = os.environ.get("BACKEND_REDIS_URL", "redis://localhost:6379/0")

app = Celery("backend", broker=REDIS_URL, backend=REDIS_URL, include=["backend_tasks"])
app.conf.broker_connection_retry_on_startup = True  # or Celery warns of its next version's default
app.conf.task_routes = {"clip.*": {"queue": "clip"}}
