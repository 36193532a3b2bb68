"""The options of `classify --from`: where images come from, and where results go."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import click

from clip_worker.feeds.open_feed import version_of
from clip_worker.quoting import without_secrets
from clip_worker.sinks.sql_table import DEFAULT_TABLE
from worker.cli.options import text
from worker.cli.output.usage_error import WrongInputError

Command = TypeVar("Command", bound=Callable[..., Any])

TEMPORARY, ALL = "temporary", "all"  # which failures to send again

_PATH = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option(
        "--from",
        "source",
        metavar="PLACE",
        help="Classify all images of a table (.csv, .tsv, .jsonl, .parquet), a list (.txt), a "
        "folder, a glob or s3://bucket/prefix/, in place of IMAGE, and continue where an earlier "
        "run stopped (docs/backfills.md).",
    ),
    click.option(
        "--to",
        "target",
        type=text,
        metavar="SINK",
        help="Where --from stores results: results.jsonl, results.parquet, sqlite:///results.db, "
        "and others (docs/sinks.md).",
    ),
    click.option(
        "--table",
        type=text,
        default=DEFAULT_TABLE,
        show_default=True,
        help="Table of a database in --to.",
    ),
    click.option(
        "--image-column",
        "column",
        type=text,
        metavar="NAME",
        help="Column of a table that has the images. [default: image, url, uri or path]",
    ),
    click.option(
        "--root",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder that paths in a table or list are relative to, and below. [default: its own]",
    ),
    click.option(
        "--journal",
        type=_PATH,
        help="File that notes what is done. [default: named after --from, in this folder]",
    ),
    click.option(
        "--failures",
        type=_PATH,
        help="File with the images that failed. [default: named after --from, in this folder]",
    ),
    click.option(
        "--retry-failed",
        type=click.Choice((TEMPORARY, ALL)),
        is_flag=False,
        flag_value=TEMPORARY,
        help="Send images that failed again: those where the image was not the reason, or all.",
    ),
)


def backfill_options(command: Command) -> Command:
    """Add the options to a command, which passes them to `BackfillOptions.of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class BackfillOptions:
    """The values of the options.

    Attributes:
        source: Where images come from.
        target: Where results go.
        table: Of a database.
        column: Of a table of images.
        root: Folder that paths are relative to.
        journal: What is done.
        failures: What has failed.
        retry: Which failures to send again; None for none.
    """

    source: str
    target: str
    table: str
    column: str | None
    root: Path | None
    journal: Path
    failures: Path
    retry: str | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self | None:
        """The values; None if `--from` is not given.

        Args:
            given: The values of all options above, by the names of their parameters.

        Raises:
            WrongInputError: `--from` or `--to` is missing.
        """
        source, target, retry = given["source"], given["target"], given["retry_failed"]
        if source is None:
            if target or retry:
                raise WrongInputError(
                    f"{'--to' if target else '--retry-failed'} needs --from, which says where the "
                    "images come from."
                )
            return None
        if target is None:
            raise WrongInputError(
                "--from needs --to, which says where the results go, such as --to results.jsonl."
            )
        return cls(
            source,
            target,
            given["table"],
            given["column"],
            given["root"],
            given["journal"] or Path(f"{_stem(source)}.journal"),
            given["failures"] or Path(f"{_stem(source)}.failures.jsonl"),
            retry,
        )

    def settings(self) -> dict[str, Any]:
        """What a run that continues must have in common with the one that it continues."""
        is_table = os.path.isfile(self.source)  # noqa: PTH113  # a str keeps './'
        # The keys and positions of a folder's images begin with its path as it was given.
        is_relative = not (is_table or "://" in self.source or os.path.isabs(self.source))  # noqa: PTH117  # as above
        return {
            "--from": os.path.abspath(self.source) if is_table else self.source,  # noqa: PTH100  # as above
            "the current folder": os.getcwd() if is_relative else None,  # noqa: PTH109  # as above
            "an input of": version_of(self.source),
            "--to": without_secrets(self.target),
            "--table": self.table,
            "--image-column": self.column,
            "--root": self.root and str(self.root.resolve()),
        }


def _stem(source: str) -> str:
    """The beginning of a file's name, after a place.

    >>> _stem("data/products.csv"), _stem("s3://pets/2026/11/"), _stem("."), _stem("in/**/*.jpg")
    ('products.csv', 'pets-2026-11', 'images', 'in.jpg')
    """
    is_path = "://" not in source and not set(source) & set("*?[")
    name = Path(source).name if is_path else source.partition("://")[2] or source
    return re.sub(r"[^\w.]+", "-", name).strip("-.").replace("-.", ".") or "images"
