"""A user's own Celery application, with a task that goes on with our result."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

REDIS_URL = os.environ.get("USER_APP_REDIS_URL", "redis://localhost:6379/0")

app = Celery("user_app", broker=REDIS_URL, backend=REDIS_URL)
app.conf.task_default_queue = "user"


@app.task(name="user.best_label")
def best_label(result: dict[str, Any]) -> str:
    """What a user does with a classification."""
    return str(result["predictions"][0]["label"])
