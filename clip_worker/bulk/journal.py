"""What a bulk run has done, in an SQLite file: enough to continue exactly after any crash."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from clip_worker.bulk.database import Database, foreign_file
from clip_worker.bulk.digest import digest_of
from clip_worker.bulk.watermark import Advance
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote

VERSION = "1"
# Tasks that were sent so long ago are sent again: their results may have expired.
STALE_S = 12 * 3600.0
PAGE = 500  # failures that are read at a time
_TABLES = (
    "CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    "CREATE TABLE done (digest BLOB PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE failed
    (id INTEGER PRIMARY KEY, digest BLOB UNIQUE, round INTEGER, may_pass INTEGER, record TEXT)""",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a commit adds to the journal.

    Attributes:
        advance: What is known of the feed's items now.
        sink_position: What `Sink.commit` returned.
        succeeded: Digests of items that have a row.
        failures: Of items that have failed: by their digests, whether another attempt may succeed,
            and the records.
    """

    advance: Advance
    sink_position: str
    succeeded: Sequence[bytes]
    failures: Mapping[bytes, tuple[bool, Mapping[str, Any]]] = field(default_factory=dict)


class Journal:
    """The journal of one run, while it is entered; used by one thread.

    Args:
        path: Of the file, which is created if it is missing.
        settings: What the run must have in common with the one that began the journal, once that
            has sent something: values that JSON has, by names as they are shown.

    Attributes:
        path: As above.
        run_id: Identifies the run, in the ids of its tasks.
        round: Counts how often the run has given its tasks new ids.
        done: Number of images that have a row.
        failed: Number of images that have failed.
        position: Where the feed continues; None at its beginning.
        sink_position: Where the sink continues; None if nothing was committed.
        is_complete: Whether the feed is done.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._settings = json.loads(json.dumps(settings))
        self._database = Database(path)
        self.run_id = ""
        self.round = self.done = self.failed = 0
        self.position: str | None = None
        self.sink_position: str | None = None
        self.is_complete = False
        self._retry_round: int | None = None  # in which the retry began that has not ended

    def __enter__(self) -> Self:
        """Open and lock the file.

        Raises:
            InvalidRequestError: `BAD_JOURNAL`: it was begun with other settings, or is not a
                journal.
            ServiceError: `JOURNAL_IN_USE`; `JOURNAL_FAILED`: it can't be read or written.
        """
        try:
            self._database.open()
            with self._database.transaction():
                self._load(self._state() or self._create())
                self._write(active_at=repr(time.time()), round=str(self.round))
        except BaseException:
            self._database.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def commit(self, checkpoint: Checkpoint) -> None:
        """Make durable that items have ended.

        Raises:
            ServiceError: `JOURNAL_FAILED`: the file can't be written.
        """
        advance, failures = checkpoint.advance, checkpoint.failures
        with self._database.transaction():
            cured = self._delete("failed", [*checkpoint.succeeded, *failures]) if self.failed else 0
            self._delete("done", [*advance.removed])
            self._database.insert(
                "INSERT OR IGNORE INTO done VALUES (?)", [(digest,) for digest in advance.added]
            )
            self._database.insert(
                "INSERT INTO failed (digest, round, may_pass, record) VALUES (?, ?, ?, ?)",
                [
                    (digest, self.round, passes, json.dumps(record))
                    for digest, (passes, record) in failures.items()
                ],
            )
            done = self.done + len(checkpoint.succeeded)
            failed = self.failed + len(failures) - cured
            position = advance.position or self.position
            self._write(
                done=str(done),
                failed=str(failed),
                position=position,
                sink_position=checkpoint.sink_position,
                active_at=repr(time.time()),
            )
        self.done, self.failed, self.position = done, failed, position
        self.sink_position = checkpoint.sink_position

    def complete(self) -> None:
        """Note that the feed is done."""
        self._write(complete="yes")
        self.is_complete = True

    def next_round(self) -> None:
        """Give tasks new ids from now on, because the results of the old ones may be lost."""
        self._write(round=str(self.round + 1))
        self.round += 1

    def begin_retry(self) -> None:
        """Begin to send failures again, or continue if that was interrupted."""
        if self._retry_round is None:
            with self._database.transaction():
                self.next_round()
                self._write(retrying=str(self.round))
            self._retry_round = self.round

    def end_retry(self) -> None:
        """Note that all failures that were to be sent again have ended."""
        self._write(retrying=None)
        self._retry_round = None

    def beyond(self) -> set[bytes]:
        """Digests of items after `position` that have ended."""
        return {digest for (digest,) in self._database.execute("SELECT digest FROM done")}

    def has_ended(self, keys: Collection[str]) -> set[str]:
        """Those of the keys whose items have ended, for runs that keep all of them."""
        by_digest = {digest_of(key): key for key in keys}
        rows, _ = self._database.among("SELECT digest FROM done WHERE digest IN", [*by_digest])
        return {by_digest[digest] for (digest,) in rows}

    def failures(self) -> Iterator[dict[str, Any]]:
        """The records of all failures, in the order in which they came."""
        return self._records("round <= ?", (self.round,))

    def failures_to_retry(self, *, only_passing: bool) -> Iterator[dict[str, Any]]:
        """The records of failures that were not sent again since `begin_retry`.

        Args:
            only_passing: Only of those where another attempt may succeed.
        """
        assert self._retry_round is not None, "begin_retry was not called"
        return self._records("round < ? AND may_pass >= ?", (self._retry_round, int(only_passing)))

    def _records(self, condition: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
        # Page by page, for the table changes in between.
        page = (
            f"SELECT id, record FROM failed WHERE id > ? AND {condition} ORDER BY id LIMIT {PAGE}"  # noqa: S608  # both are ours
        )
        last = 0
        while rows := self._database.execute(page, (last, *values)):
            yield from (json.loads(record) for _, record in rows)
            last = rows[-1][0]

    def _state(self) -> dict[str, Any]:
        names = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master")}
        if not names:
            return {}
        if not names >= {"run", "done", "failed"}:
            raise foreign_file(self.path)
        return dict(self._database.execute("SELECT name, value FROM run"))

    def _create(self) -> dict[str, Any]:
        for statement in _TABLES:
            self._database.execute(statement)
        state = {"version": VERSION, "run_id": uuid.uuid4().hex[:12], "round": "0", "done": "0"}
        state |= {"failed": "0", "active_at": repr(time.time())}
        self._write(**state, settings=json.dumps(self._settings))
        return self._state()

    def _load(self, state: Mapping[str, Any]) -> None:
        if state.get("version") != VERSION:
            raise foreign_file(self.path)
        if state.get("sink_position") is None:  # nothing was sent: a mistake may be mended
            self._write(settings=json.dumps(self._settings))
        else:
            self._compare(json.loads(state["settings"]))
        self.run_id, self.round = state["run_id"], int(state["round"])
        self.done, self.failed = int(state["done"]), int(state["failed"])
        self.position, self.sink_position = state.get("position"), state.get("sink_position")
        self.is_complete = "complete" in state
        self._retry_round = int(state["retrying"]) if state.get("retrying") else None
        if time.time() - float(state["active_at"]) > STALE_S:
            self.round += 1

    def _compare(self, before: Mapping[str, Any]) -> None:
        for name in [*before, *self._settings]:
            if before.get(name) != self._settings.get(name):
                raise InvalidRequestError(
                    f"The journal {quote(str(self.path))} was begun with {name} "
                    f"{_shown(before, name)}, and now it is {_shown(self._settings, name)}; use "
                    "what it was begun with, or begin a new run with another journal.",
                    "BAD_JOURNAL",
                )

    def _write(self, **state: str | None) -> None:
        self._database.insert("INSERT OR REPLACE INTO run VALUES (?, ?)", [*state.items()])

    def _delete(self, table: str, digests: Sequence[bytes]) -> int:
        return self._database.among(f"DELETE FROM {table} WHERE digest IN", digests)[1]  # noqa: S608  # our own


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return "unset" if settings.get(name) is None else quote(settings[name])
