"""What every Celery contender is given; what is not said here is Celery's default."""

from __future__ import annotations

from typing import Any

# The caller's guarantee is the same for all: a message is Redis's until its result is stored.
# Chatter between workers is off (command line), no events, no log line a task: in their favour.
CELERY: dict[str, Any] = {
    "task_acks_late": True,
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "broker_connection_retry_on_startup": True,
}
