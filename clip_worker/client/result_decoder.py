"""Decodes results as Celery stores them; does no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from celery.states import READY_STATES
from kombu.exceptions import DecodeError

from clip_worker.contract.text import read_json

if TYPE_CHECKING:
    from celery import Celery

_SUCCESS = b'{"status": "SUCCESS", "result": '


class ResultDecoder:
    """Decodes what workers have stored or published.

    Args:
        app: A Celery application whose backend decodes exceptions; it never connects.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def decode(self, stored: bytes) -> dict[str, Any]:
        """A task's `status` and `result`; the result of a failed task is an exception."""
        # For a success without kombu's own types Celery returns the plain JSON, only slower.
        if stored.startswith(_SUCCESS) and b'"__type__"' not in stored:
            return cast("dict[str, Any]", read_json(stored))
        return cast("dict[str, Any]", self._app.backend.decode_result(stored))

    def if_ended(self, published: bytes) -> dict[str, Any] | None:
        """A published message, decoded; None if the task has not ended with it."""
        try:
            stored = self.decode(published)
            return stored if stored["status"] in READY_STATES else None
        except (DecodeError, KeyError, TypeError, ValueError):  # anybody may publish anything
            return None
