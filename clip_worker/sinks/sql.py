"""Stores rows in a table of SQLite or PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.quoting import redacted, shown_uri
from clip_worker.sinks.failures import sink_failed
from clip_worker.sinks.row import Row
from clip_worker.sinks.sql_table import columns_of, create_if_absent, misfit, results_table, upsert

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine, Insert
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.exc import SQLAlchemyError

MOST_ROWS = 500  # in memory, and in a transaction
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # between attempts, while the server is away
BUSY_S = 30.0  # how long SQLite waits for another writer

_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


class SqlSink:
    """Inserts each row, or replaces the one with the same key.

    So rows that are written again do no harm, and a position says nothing but that there was a
    commit. A transaction that fails with its connection is repeated.

    Args:
        url: Of SQLAlchemy: `sqlite:///results.db` or `postgresql://user:password@host/database`.
        table: Its name, with a schema or without. It is made if it does not exist.
        pauses_s: Seconds between attempts to reach a server that is away.
        sleep: Sleeps for so many seconds.

    Raises:
        InvalidRequestError: `BAD_SINK`: the URL or the table's name is not valid.
    """

    def __init__(
        self,
        url: str,
        table: str,
        *,
        pauses_s: Sequence[float] = PAUSES_S,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._shown = url
        self._url = _checked(url)
        self._table = results_table(table)
        self._pauses_s = pauses_s if self._dialect == "postgresql" else ()
        self._sleep = sleep
        self._engine: Engine | None = None
        self._waiting: list[Row] = []

    def open(self, position: str | None) -> None:
        """See `Sink.open`."""
        del position
        try:
            self._open()
        except ServiceError:
            self.close()
            raise

    def write(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See `Sink.write`."""
        self._waiting += rows
        if len(self._waiting) >= MOST_ROWS:
            self._store()
        return ()

    def commit(self) -> str:
        """See `Sink.commit`."""
        if self._waiting:
            self._store()
        return self._table.fullname

    def close(self) -> None:
        """See `Sink.close`."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> None:
        with self._translated_errors():
            self._engine = _engine(self._url)
            with self._engine.begin() as connection:
                create_if_absent(self._table, connection)
                reason = misfit(self._table, connection)
        if reason:
            raise sink_failed(self._shown, reason, "name another one with --table")

    @property
    def _dialect(self) -> str:
        return self._url.get_backend_name()

    def _store(self) -> None:
        """Store what waits, in one transaction."""
        from sqlalchemy.exc import OperationalError

        # By key: two runs that update the same rows then don't wait for each other in a circle.
        found = {values["key"]: values for values in map(columns_of, self._waiting)}
        rows = [found[key] for key in sorted(found)]
        statement = upsert(self._table, self._dialect)
        with self._translated_errors():
            for pause_s in self._pauses_s:
                try:
                    self._execute(statement, rows)
                    break
                except OperationalError:
                    self._sleep(pause_s)
            else:
                self._execute(statement, rows)
        self._waiting.clear()

    def _execute(self, statement: Insert, rows: Sequence[dict[str, Any]]) -> None:
        assert self._engine is not None
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as error:
            raise self._failed(error) from error

    def _failed(self, error: SQLAlchemyError) -> ServiceError:
        """The database's own sentence, which may be followed by the row's values."""
        said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0].rstrip(".:")
        return sink_failed(
            self._shown,
            f"the database says {redacted(said, self._shown)!r}",
            "check the URL, the server, the user's rights and the disk,",
        )


def _checked(text: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # its message contains the password
        raise _bad_url(text, "is not a database's URL") from None
    if url.drivername not in _DRIVERS:
        raise _bad_url(text, "is neither SQLite nor PostgreSQL")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise _bad_url(text, "names no file")
    return url.set(drivername=_DRIVERS[url.drivername])


def _bad_url(url: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{shown_uri(url)} {reason}; write sqlite:///results.db, or "
        "postgresql://user:password@host/database.",
        "BAD_SINK",
    )


def _engine(url: URL) -> Engine:
    import sqlalchemy

    if url.get_backend_name() != "sqlite":
        return sqlalchemy.create_engine(url, pool_pre_ping=True)
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_S})
    sqlalchemy.event.listen(engine, "connect", _sync_on_commit)
    return engine


def _sync_on_commit(connection: DBAPIConnection, _record: object) -> None:
    """Have a commit outlast a power failure; SQLite's default leaves a moment in which it may not.

    See https://www.sqlite.org/pragma.html#pragma_synchronous.
    """
    connection.cursor().execute("PRAGMA synchronous = EXTRA")
