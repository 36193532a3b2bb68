"""Makes the sink that `--to` names."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clip_worker.contract.webhooks import signing_key, validate_webhook
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote, shown_uri
from clip_worker.sinks.jsonl import JsonlSink
from clip_worker.sinks.parquet import ParquetSink
from clip_worker.sinks.sidecars import JsonSidecar, SidecarSink
from clip_worker.sinks.sql import SqlSink
from clip_worker.sinks.sql_table import DEFAULT_TABLE
from clip_worker.sinks.webhook import WebhookSink
from clip_worker.sinks.xmp_sidecar import DEFAULT_THRESHOLD, XmpSidecar

if TYPE_CHECKING:
    from clip_worker.sinks.sink import Sink

BAD_SINK = "BAD_SINK"
SECRET_VARIABLE = "CLIP_WORKER_WEBHOOK_SECRET"  # noqa: S105  # its name

_DATABASES = ("sqlite:", "postgresql:", "postgresql+psycopg:", "postgres:")


def open_sink(
    target: str,
    *,
    table: str = DEFAULT_TABLE,
    webhook_secret: str | None = None,
) -> Sink:
    """The sink that a target names. Nothing is written before its `open` is called.

    Args:
        target: `results.jsonl`; `results.parquet`, or a folder with a slash at its end;
            `sqlite:///results.db` or `postgresql://user@host/database`; `sidecars:json`,
            `sidecars:xmp` or `sidecars:xmp?threshold=0.3`; `https://example.com/hook`.
        table: The table of a database.
        webhook_secret: Signs what is posted; several, separated by commas, while it is replaced.
            None for that of the environment, `CLIP_WORKER_WEBHOOK_SECRET`.

    Raises:
        InvalidRequestError: `BAD_SINK` or `BAD_WEBHOOK`: it is not one of these, its options are
            not valid, or what it needs is not installed.
    """
    if target == "sidecars:json":
        return SidecarSink(JsonSidecar())
    if target.partition("?")[0] == "sidecars:xmp":
        _require("lxml", "xmp", target)
        return SidecarSink(XmpSidecar(_threshold(target)))
    if target.startswith(("http:", "https:")):
        if webhook_secret is None:
            webhook_secret = os.environ.get(SECRET_VARIABLE, "")
        return WebhookSink(validate_webhook(target), _keys(webhook_secret))
    if target.startswith(_DATABASES):
        _require("sqlalchemy", "sql", target)
        return SqlSink(target, table)
    return _file_sink(target)


def _file_sink(target: str) -> Sink:
    if "://" not in target and target.endswith(".jsonl"):
        return JsonlSink(Path(target))
    if "://" not in target and target.endswith((".parquet", "/")):
        _require("pyarrow", "parquet", target)
        return ParquetSink(Path(target))
    raise InvalidRequestError(
        f"{shown_uri(target)} names no place for results; give results.jsonl, results.parquet, "
        "sqlite:///results.db, postgresql://user@host/database, sidecars:json, sidecars:xmp or "
        "https://example.com/hook.",
        BAD_SINK,
    )


def _threshold(target: str) -> float:
    """The least probability of a keyword, of `sidecars:xmp?threshold=0.3`."""
    _, mark, query = target.partition("?")
    if not mark:
        return DEFAULT_THRESHOLD
    name, _, value = query.partition("=")
    try:
        threshold = float(value)
    except ValueError:
        threshold = -1
    if name == "threshold" and 0 <= threshold <= 1:
        return threshold
    raise InvalidRequestError(
        f"{quote(target)} has no threshold from 0 to 1; write sidecars:xmp?threshold=0.3.", BAD_SINK
    )


def _keys(secret: str) -> list[bytes]:
    try:
        keys = [signing_key(each) for each in secret.split(",") if each.strip()]
    except ValueError as error:
        raise InvalidRequestError(f"{SECRET_VARIABLE} is not valid: {error}.", BAD_SINK) from error
    if not keys:
        raise InvalidRequestError(
            f"Results are posted to a webhook only with a signature; set {SECRET_VARIABLE} to "
            "whsec_ and 24 to 64 bytes in base64.",
            BAD_SINK,
        )
    return keys


def _require(module: str, extra: str, target: str) -> None:
    if find_spec(module) is None:
        raise InvalidRequestError(
            f"Results can't be written to {shown_uri(target)} without the module {module}, which "
            f'is not installed; run: pip install "clip-worker[{extra}]"',
            BAD_SINK,
        )
