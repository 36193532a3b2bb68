"""The failures of a bulk run, in a file of their own: one JSON object per line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_worker import errors
from clip_worker.errors import ExpiredError, ServiceError, TemporaryError
from clip_worker.feeds.item import Item
from clip_worker.quoting import quote, without_secrets
from clip_worker.sinks.record import plain_value

if TYPE_CHECKING:
    from clip_worker.contract.results import Failure
    from clip_worker.sinks.row import Row

SHOWN = ("key", "image", "code", "type", "message", "fields", "ended_at")
BAD_ROW = "BAD_ROW"  # of an item that its feed could not read
MAY_PASS = (TemporaryError, ServiceError, ExpiredError)


def may_pass(failure: Failure) -> bool:
    """Whether an image may succeed if it is sent again: the reason was not the image itself."""
    kind = getattr(errors, failure.type, ServiceError)  # a newer worker's own error
    return issubclass(kind, MAY_PASS)


def failure_record(row: Row) -> dict[str, Any]:
    """A failed row as the journal keeps it, from which `failed_item` makes the item again."""
    item, failure = row.item, row.outcome.error
    assert failure is not None
    return {
        "key": item.key,
        "image": item.image,
        "path": None if item.path is None else str(item.path),
        "fields": plain_value(item.fields),
        **failure.model_dump(),
        "ended_at": round(row.ended_at, 3),
    }


def failed_item(record: Mapping[str, Any]) -> Item:
    """The item of a record."""
    path = record["path"]
    fault = record["message"] if record["code"] == BAD_ROW else ""  # the row is what it was
    return Item(record["key"], record["image"], path and Path(path), record["fields"], fault=fault)


class FailuresFile:
    """A file that lists the failures that the journal has.

    It is a copy of what the journal has, and is rewritten when a run begins and when it ends.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def rewrite(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace the file; without any record it is deleted.

        Raises:
            ServiceError: `SINK_FAILED`: it can't be written.
        """
        written = self._path.with_name(f"{self._path.name}.new")
        try:
            with written.open("w", encoding="utf-8") as file:
                file.writelines(map(_line, records))
                size = file.tell()
            if size:
                os.replace(written, self._path)  # noqa: PTH105  # the word for what is meant
            else:
                written.unlink()
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Add failures.

        Raises:
            ServiceError: `SINK_FAILED`: it can't be written.
        """
        if lines := list(map(_line, records)):
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.writelines(lines)
            except OSError as error:
                raise self._failed(error) from error

    def _failed(self, error: OSError) -> ServiceError:
        return ServiceError(
            f"The file of failures {quote(str(self._path))} can't be written: {error.strerror}; "
            "free space or change its rights, or name another file with --failures.",
            "SINK_FAILED",
        )


def _line(record: Mapping[str, Any]) -> str:
    shown = {name: record[name] for name in SHOWN}
    if record["path"] is None:  # a URI, perhaps with a signature; a file's name has no secrets
        shown |= {name: without_secrets(record[name]) for name in ("key", "image")}
    return json.dumps(shown) + "\n"
