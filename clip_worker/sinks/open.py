"""Makes the sink that `--to` names."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import shown_uri
from clip_worker.sinks.jsonl import JsonlSink
from clip_worker.sinks.parquet import ParquetSink
from clip_worker.sinks.sql import SqlSink
from clip_worker.sinks.sql_table import DEFAULT_TABLE

if TYPE_CHECKING:
    from clip_worker.sinks.sink import Sink

BAD_SINK = "BAD_SINK"
DATABASES = ("sqlite:", "postgresql:", "postgresql+psycopg:", "postgres:")


def open_sink(target: str, *, table: str = DEFAULT_TABLE) -> Sink:
    """The sink that a target names. Nothing is written before its `open` is called.

    Args:
        target: `results.jsonl`; `results.parquet`, or a folder with a slash at its end;
            `sqlite:///results.db` or `postgresql://user@host/database`.
        table: The table of a database.

    Raises:
        InvalidRequestError: `BAD_SINK`: it names none, or what it needs is not installed.
    """
    if target.startswith(DATABASES):
        _require("sqlalchemy", "sql", target)
        return SqlSink(target, table)
    if "://" not in target and target.endswith(".jsonl"):
        return JsonlSink(Path(target))
    if "://" not in target and target.endswith((".parquet", "/")):
        _require("pyarrow", "parquet", target)
        return ParquetSink(Path(target))
    raise InvalidRequestError(
        f"{shown_uri(target)} names no place for results; give results.jsonl, results.parquet, "
        "sqlite:///results.db or postgresql://user@host/database.",
        BAD_SINK,
    )


def _require(module: str, extra: str, target: str) -> None:
    if find_spec(module) is None:
        raise InvalidRequestError(
            f"Results can't be written to {shown_uri(target)} without the module {module}, which "
            f'is not installed; run: pip install "clip-worker[{extra}]"',
            BAD_SINK,
        )
