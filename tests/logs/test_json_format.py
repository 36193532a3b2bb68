"""Lines of JSON: their fields, for tasks and for others."""

from __future__ import annotations

import json
import logging
from typing import Any

from worker.logs.json_format import JsonFormatter


def line(message: str, *arguments: object, exc_info: Any = None, **fields: object) -> Any:
    record = logging.LogRecord("worker.x", logging.WARNING, "x.py", 1, message, arguments, exc_info)
    record.created = 1_763_730_000.25
    record.__dict__.update(fields)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_has_time_level_logger_and_message():
    assert line("Requeued %d tasks.", 3) == {
        "time": "2025-11-21T13:00:00.250Z",
        "level": "WARNING",
        "logger": "worker.x",
        "message": "Requeued 3 tasks.",
    }


def test_a_line_about_a_task_has_its_id_queue_and_code():
    found = line("failed", task_id="t1", queue="clip", code="FETCH_404")

    assert (found["task_id"], found["queue"], found["code"]) == ("t1", "clip", "FETCH_404")


def test_a_line_of_celerys_about_a_task_has_its_id():
    assert (
        line("Task received", data={"id": "t2", "name": "a.task", "args": "..."})["task_id"] == "t2"
    )


def test_a_traceback_has_a_field_of_its_own():
    error = ValueError("two\nlines")
    found = line("Can't", exc_info=(ValueError, error, None))

    assert (found["message"], found["traceback"]) == ("Can't", "ValueError: two\nlines")


def test_no_text_breaks_the_line_or_the_encoding():
    found = line("a\nb\x00 \ud800 ü")

    assert found["message"] == "a\nb\x00 \ud800 ü"
