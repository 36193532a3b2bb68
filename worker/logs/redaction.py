"""Keeps secrets, the bodies of messages and needless tracebacks out of the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from worker.settings.webhooks import SECRETS

if TYPE_CHECKING:
    from worker.settings import Settings

MASK = "***"
LEAST_SECRET = 4  # characters; shorter words occur everywhere
CONNECTION_FAULTS = (RedisError, OperationalError, OSError)
# Where Celery's own sentences about a message it can't use go on with its body or its headers.
BODY_BEGINS = ("The full contents of the message body", " [type:")


class Redaction(logging.Filter):
    """Replaces secrets by stars, and cuts off what Celery quotes of a message.

    Where Celery warns of a lost connection, the error's sentence stands for its traceback.

    Args:
        secrets: Texts that no line may contain.
    """

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, but changed if need be."""
        try:
            self._clean(record)
        except Exception:  # noqa: BLE001  # wrong arguments; the handler reports that, as always
            return True
        return True

    def _clean(self, record: logging.LogRecord) -> None:
        is_celerys = record.name.startswith("celery.") and record.levelno >= logging.WARNING
        if is_celerys and record.levelno == logging.WARNING:
            _shorten(record)
        if not self._secrets and not is_celerys:
            return
        said = record.getMessage()
        message = self._masked(_without_body(said) if is_celerys else said)
        if message != said:
            record.msg, record.args = message, ()
        if record.exc_info and self._secrets:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text = self._masked(trace)

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Passwords and keys of a worker, as they are and as they stand in URLs; the longest first."""
    found = set(_passwords(settings))
    for name in SECRETS:
        value = getattr(settings, name)
        secrets = value if isinstance(value, tuple) else (value,)
        found |= {secret.get_secret_value() for secret in secrets if secret is not None}
    return tuple(
        sorted((each for each in found if len(each) >= LEAST_SECRET), key=len, reverse=True)
    )


def _passwords(settings: Settings) -> Iterator[str]:
    for urls in filter(None, (settings.redis_url, settings.result_url, settings.mirror)):
        for url in urls.split(";"):  # several sentinels
            try:
                password = urlsplit(url).password
            except ValueError:  # of a host that is none; it was refused, or is Redis's own form
                continue
            if password:
                yield from (password, unquote(password))


def _shorten(record: logging.LogRecord) -> None:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, CONNECTION_FAULTS):
        record.msg, record.args = f"{record.getMessage()} ({error})", ()
        record.exc_info = record.exc_text = None


def _without_body(message: str) -> str:
    end = min((i for mark in BODY_BEGINS if (i := message.find(mark)) >= 0), default=-1)
    return message if end < 0 else message[:end].rstrip()
