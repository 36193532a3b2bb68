"""Sets up the log of a worker: formats and filters on top of Celery's own handlers."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from celery.apps import worker as celery_worker

from worker.logs.json_format import JsonFormatter
from worker.logs.redaction import Redaction, secrets_of
from worker.logs.throttle import Throttle

if TYPE_CHECKING:
    from worker.settings import Settings

MINUTE_LOGGER = "worker.minute"  # one line a minute; shown at the level WARNING, too
CELERY_LOGGER = "celery.worker"


def set_up(logger: logging.Logger, settings: Settings) -> None:
    """Give a logger's handlers the format of the settings and the filters.

    Args:
        logger: One that Celery has just set up: the root's, or that of tasks.
        settings: Of this worker.
    """
    filters = (Redaction(secrets_of(settings)), Throttle())
    for handler in logger.handlers:
        for each in filters:
            handler.addFilter(each)
        if settings.log_format == "json":
            handler.setFormatter(JsonFormatter())


def show_minutes(loglevel: int) -> None:
    """Show the line a minute unless warnings are not shown either."""
    shown = loglevel <= logging.WARNING
    logging.getLogger(MINUTE_LOGGER).setLevel(logging.INFO if shown else loglevel)


def begin_json(settings: Settings, celerys: Any) -> None:
    """Write JSON from now on, until Celery sets up its handlers, and keep it from printing text.

    Args:
        settings: Of this worker.
        celerys: Celery's worker, whose banner is left out.
    """
    handler = logging.StreamHandler(sys.__stderr__)
    root = logging.getLogger()
    root.handlers = [handler]
    set_up(root, settings)
    logging.captureWarnings(capture=True)
    celerys.quiet = True
    # What it prints in signal handlers, past its log.
    celery_worker.safe_say = _say_as_json


def _say_as_json(message: str, _file: object = None) -> None:
    """One write, as Celery's own does: signal handlers may call it."""
    record = logging.LogRecord(CELERY_LOGGER, logging.INFO, "", 0, str(message).strip(), (), None)
    os.write(2, JsonFormatter().format(record).encode() + b"\n")
