"""Prints sentences of a worker's start, before there is a log: as text or JSON, like the log."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from worker.logs.json_format import JsonFormatter
from worker.variables import LOG_FORMAT

LOGGER = "clip-worker"


def is_json() -> bool:
    """Whether `CLIP_WORKER_LOG_FORMAT` asks for JSON."""
    return os.environ.get(LOG_FORMAT) == "json"


def say(sentences: str, *, level: int = logging.INFO, file: TextIO | None = None) -> None:
    """Print a sentence a line on stderr or `file`, each as a line of its own."""
    for sentence in sentences.splitlines():
        line = _json_line(sentence, level) if is_json() else f"{LOGGER}: {sentence}"
        print(line, file=file or sys.stderr, flush=True)


def _json_line(sentence: str, level: int) -> str:
    return JsonFormatter().format(logging.LogRecord(LOGGER, level, "", 0, sentence, (), None))
