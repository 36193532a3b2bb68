"""Keeps secrets and the bodies of messages out of the log, whoever writes there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from worker.settings.webhooks import SECRETS

if TYPE_CHECKING:
    from worker.settings import Settings

MASK = "***"
LEAST_SECRET = 4  # characters; shorter words occur everywhere
# Where Celery's own sentences about a message it can't use go on with its body or its headers.
BODY_BEGINS = ("The full contents of the message body", " [type:")


class Redaction(logging.Filter):
    """Replaces secrets by stars, and cuts off what Celery quotes of a message.

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


def _without_body(message: str) -> str:
    end = min((i for mark in BODY_BEGINS if (i := message.find(mark)) >= 0), default=-1)
    return message if end < 0 else message[:end].rstrip()
