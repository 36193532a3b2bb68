"""One JSON object a line, for log collectors (docs/logs.md)."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

TASK_FIELDS = ("task_id", "queue", "code")  # attributes of records that are about a task


class JsonFormatter(logging.Formatter):
    """Formats a record as `{"time": ..., "level": ..., "logger": ..., "message": ...}`.

    Fields of a task and the traceback are added where there are any. All is ASCII, so that no
    locale and no lone surrogate can break a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {
            name: value
            for name in TASK_FIELDS
            if (value := getattr(record, name, None)) is not None
        }
        data = getattr(record, "data", None)  # of a record of Celery's about a task
        if isinstance(data, dict) and "id" in data:
            entry.setdefault("task_id", data["id"])
        if record.exc_info:
            entry["traceback"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(entry, default=str)
