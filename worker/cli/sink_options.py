"""The options that say where the results of many images go."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from clip_worker.sinks.open import SECRET_VARIABLE, open_sink
from clip_worker.sinks.sql_table import DEFAULT_TABLE
from clip_worker.sinks.xmp_sidecar import DEFAULT_THRESHOLD
from worker.cli.options import text

Command = TypeVar("Command", bound=Callable[..., Any])


def sink_options(*, required: bool) -> Callable[[Command], Command]:
    """Give a command `--to` and the options of sinks, as one argument `sink`.

    The argument is None without `--to`, if that is not required. A secret for webhooks comes from
    the environment, because others may see command lines.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(
            *args: Any, to: str | None, table: str, keyword_threshold: float, **kwargs: Any
        ) -> Any:
            sink = None
            if to is not None:
                sink = open_sink(
                    to,
                    table=table,
                    keyword_threshold=keyword_threshold,
                    webhook_secret=os.environ.get(SECRET_VARIABLE, ""),
                )
            return command(*args, sink=sink, **kwargs)

        for option in reversed(_options(required=required)):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[return-value]  # it takes the options, too

    return decorate


def _options(*, required: bool) -> list[Callable[[Any], Any]]:
    return [
        click.option(
            "--to",
            type=text,
            required=required,
            metavar="PLACE",
            help="Where results go: results.jsonl, results.parquet, sqlite:///results.db, "
            "postgresql://user@host/database, sidecars:json, sidecars:xmp or a webhook's URL "
            "(docs/sinks.md).",
        ),
        click.option(
            "--table",
            type=text,
            default=DEFAULT_TABLE,
            show_default=True,
            metavar="NAME",
            help="Table for results in a database.",
        ),
        click.option(
            "--keyword-threshold",
            type=click.FloatRange(0, 1),
            default=DEFAULT_THRESHOLD,
            show_default=True,
            help="Least probability of a label that becomes a keyword with --to sidecars:xmp.",
        ),
    ]
