"""Rows and progress of a run, made up."""

from __future__ import annotations

from pathlib import Path

from support.answers import ANSWER

from clip_worker.bulk.progress import Progress
from clip_worker.contract import Failure, Outcome
from clip_worker.feeds.item import Item
from clip_worker.sinks.row import Row


def classified(image: str, path: Path | None = None, ended_at: float = 1.0) -> Row:
    """An image with the usual result."""
    return Row(Item(image, image, path), Outcome(status="ok", result=ANSWER), ended_at)


def failed(image: str, ended_at: float = 1.0, message: str = "It is no image.") -> Row:
    """An image that could not be decoded."""
    failure = Failure(type="ImageInvalidError", code="DECODE_BROKEN", message=message)
    return Row(Item(image, image), Outcome(status="error", error=failure), ended_at)


def progress_of(*rows: Row) -> Progress:
    progress = Progress(in_flight=3)
    progress.note(rows)
    return progress
