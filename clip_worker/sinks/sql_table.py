"""The table that SQL sinks store records in."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote
from clip_worker.sinks.record import clean_text, record

if TYPE_CHECKING:
    from sqlalchemy import Connection, Insert, Table

    from clip_worker.sinks.row import Row

DEFAULT_TABLE = "clip_results"
MOST_KEY_CHARS = 500  # in UTF-8 at most 2,000 bytes: PostgreSQL's index takes 2,704

_NAME = re.compile(r"(?:(?P<schema>[A-Za-z_]\w{0,62})\.)?(?P<table>[A-Za-z_]\w{0,62})", re.ASCII)


def results_table(name: str) -> Table:
    """The table with a name such as `clip_results`, or `tags.clip_results` in a schema.

    Raises:
        InvalidRequestError: `BAD_SINK`: the name is not made of letters, digits and underscores.
    """
    import sqlalchemy as sa
    from sqlalchemy.dialects.postgresql import JSONB

    parts = _NAME.fullmatch(name)
    if parts is None:
        raise InvalidRequestError(
            f"The table's name is {quote(name)}; use letters, digits and underscores, with a "
            "schema and a dot before them or not, such as clip_results.",
            "BAD_SINK",
        )
    json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    return sa.Table(
        parts["table"],
        sa.MetaData(schema=parts["schema"]),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("probability", sa.Double),
        sa.Column("predictions", json),
        sa.Column("none_of_these", sa.Double),
        sa.Column("label_set", sa.Text),
        sa.Column("label_set_version", sa.Text),
        sa.Column("levels", json),
        sa.Column("model", sa.Text),
        sa.Column("model_digest", sa.Text),
        sa.Column("embedding", json),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("fields", json),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
    )


def columns_of(row: Row) -> dict[str, Any]:
    """A row's values by the table's columns."""
    stored = record(row)
    label_set, error = stored.get("label_set") or {}, stored.get("error") or {}
    values = {
        "key": _bounded(stored["key"]),
        "label_set": label_set.get("name"),
        "label_set_version": label_set.get("version"),
        "error_code": error.get("code"),
        "error_message": clean_text(error["message"]) if error else None,
        "ended_at": datetime.fromisoformat(stored["ended_at"]),
    }
    same = (
        *("image", "status", "label", "probability", "predictions", "none_of_these", "levels"),
        *("model", "model_digest", "embedding", "fields"),
    )
    return values | {name: stored.get(name) for name in same}


def upsert(table: Table, dialect: str) -> Insert:
    """The statement that inserts a row, or replaces the one with its key."""
    from sqlalchemy.dialects import postgresql, sqlite

    insert: postgresql.Insert | sqlite.Insert
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    others = {each.name: insert.excluded[each.name] for each in table.c if not each.primary_key}
    return insert.on_conflict_do_update(index_elements=["key"], set_=others)


def create_if_absent(table: Table, connection: Connection) -> None:
    """Make the table. A user who may not make any can use one that is there."""
    from sqlalchemy import inspect
    from sqlalchemy.schema import CreateTable

    if not inspect(connection).has_table(table.name, table.schema):
        connection.execute(CreateTable(table, if_not_exists=True))


def misfit(table: Table, connection: Connection) -> str | None:
    """Why the database's table of that name can't be used, to follow a colon; None if it can."""
    from sqlalchemy import inspect

    found = inspect(connection)
    names = {each["name"] for each in found.get_columns(table.name, table.schema)}
    if missing := [each.name for each in table.c if each.name not in names]:
        return f"the table {table.fullname} has no column {missing[0]}, so it is another's"
    unique = [
        found.get_pk_constraint(table.name, table.schema)["constrained_columns"],
        *(each["column_names"] for each in found.get_unique_constraints(table.name, table.schema)),
        *(
            each["column_names"]
            for each in found.get_indexes(table.name, table.schema)
            if each["unique"]
        ),
    ]
    if ["key"] not in unique:
        return f"the table {table.fullname} allows a key several times, so it is another's"
    return None


def _bounded(key: str) -> str:
    """A key, or its digest if it is too long for an index."""
    if len(key) <= MOST_KEY_CHARS:
        return key
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
