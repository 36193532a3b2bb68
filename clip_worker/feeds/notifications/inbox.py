"""Notifications that were accepted and are not done, in an SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from clip_worker.errors import ServiceError, TemporaryError
from clip_worker.feeds.notifications.source import Message
from clip_worker.quoting import quote

_TABLE = "CREATE TABLE IF NOT EXISTS notification (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)"
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL")


class Inbox:
    """Keeps messages until they are deleted, whatever happens to this process. Thread-safe.

    Args:
        path: Of the file, which is created if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file.

        Raises:
            ServiceError: `FEED_FAILED`: it can't be used.
        """
        try:
            self._connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False
            )
            for pragma in _PRAGMAS:
                self._opened.execute(f"PRAGMA {pragma}")
            self._opened.execute(_TABLE)
        except sqlite3.Error as error:
            raise ServiceError(self._sentence(error), "FEED_FAILED") from error

    def add(self, body: str) -> None:
        """Store a message durably.

        Raises:
            TemporaryError: `FEED_UNAVAILABLE`: the disk is full, for one.
        """
        with self._translated():
            self._opened.execute("INSERT INTO notification (body) VALUES (?)", (body,))

    def after(self, number: int, most: int) -> list[Message]:
        """The next messages after the one with this number; their receipts are their numbers."""
        with self._translated():
            rows = self._opened.execute(
                "SELECT id, body FROM notification WHERE id > ? ORDER BY id LIMIT ?", (number, most)
            ).fetchall()
        return [Message(str(number), body) for number, body in rows]

    def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages.

        Raises:
            TemporaryError: `FEED_UNAVAILABLE`.
        """
        with self._translated():
            self._opened.execute("BEGIN")
            self._opened.executemany(
                "DELETE FROM notification WHERE id = ?", [(int(each),) for each in receipts]
            )
            self._opened.execute("COMMIT")

    def close(self) -> None:
        """Close the file, if it is open."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    @property
    def _opened(self) -> sqlite3.Connection:
        assert self._connection is not None, "the file is not open"
        return self._connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            if self._opened.in_transaction:
                self._opened.execute("ROLLBACK")
            raise TemporaryError(self._sentence(error), "FEED_UNAVAILABLE") from error

    def _sentence(self, error: sqlite3.Error) -> str:
        return (
            f"The file {quote(str(self._path))} can't be used: {error}; check its folder, its "
            "rights and the free space."
        )
