"""An SQLite file that one process uses at a time, with errors as sentences."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.quoting import quote

LOCK_WAIT_S = 1.0
_AT_A_TIME = 500  # parameters of a statement; SQLite's limit was 999 for long
_MODE = 0o600  # URIs of failures may have signatures
_PRAGMAS = ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL")


class Database:
    """The file of a journal; locked from `open` to `close`.

    A transaction costs one fsync (write-ahead log, `synchronous=FULL`).

    Args:
        path: Of the file, which is created if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open and lock the file.

        Raises:
            InvalidRequestError: `BAD_JOURNAL`: it is not an SQLite file.
            ServiceError: `JOURNAL_IN_USE`; `JOURNAL_FAILED`: it can't be opened.
        """
        with contextlib.suppress(OSError):  # SQLite says what is wrong
            self._path.touch(_MODE)  # its log of writes gets the same
        with self._translated():
            self._opened = sqlite3.connect(self._path, timeout=LOCK_WAIT_S, isolation_level=None)
            for pragma in _PRAGMAS:
                self._opened.execute(f"PRAGMA {pragma}")

    def close(self) -> None:
        """Close and unlock the file; again does nothing."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all that the block writes durable, or nothing of it.

        Raises:
            ServiceError: `JOURNAL_IN_USE`, `JOURNAL_FAILED`.
        """
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(ServiceError):  # a full disk has ended it already
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run a statement, and return its rows.

        Raises:
            ServiceError: `JOURNAL_IN_USE`, `JOURNAL_FAILED`.
        """
        with self._translated():
            return self._connection.execute(statement, parameters).fetchall()

    def insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run an INSERT for each row."""
        if rows:
            with self._translated():
                self._connection.executemany(statement, rows)

    def among(self, statement: str, values: Sequence[bytes]) -> tuple[list[Any], int]:
        """Run a statement that ends in `IN`, for the values.

        Returns:
            Its rows, and how many it has changed.
        """
        rows, changed = [], 0
        with self._translated():
            for start in range(0, len(values), _AT_A_TIME):
                some = values[start : start + _AT_A_TIME]
                marks = ",".join("?" * len(some))
                cursor = self._connection.execute(f"{statement} ({marks})", some)
                rows += cursor.fetchall()
                changed += max(0, cursor.rowcount)
        return rows, changed

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._opened is not None, "the file is not open"
        return self._opened

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> ServiceError | InvalidRequestError:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_NOTADB"):
            return foreign_file(self._path)
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return ServiceError(
                f"Another run uses the journal {quote(str(self._path))}; wait until it ends, or "
                "name another journal.",
                "JOURNAL_IN_USE",
            )
        return ServiceError(
            f"The journal {quote(str(self._path))} can't be used: {error}; check its folder, its "
            "rights and the free space, or name another one.",
            "JOURNAL_FAILED",
        )


def foreign_file(path: Path) -> InvalidRequestError:
    """The error for a file that something else has written."""
    return InvalidRequestError(
        f"The file {quote(str(path))} is not a journal of this version of clip-worker; name "
        "another file.",
        "BAD_JOURNAL",
    )
