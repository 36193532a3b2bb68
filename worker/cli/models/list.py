"""`clip-worker models list`: the published models, and which of them are in the cache."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

import click
from rich.filesize import decimal

from clip_engine.weights.cache import part_of
from clip_engine.weights.catalog import PUBLISHED, Published
from clip_engine.weights.checksum import is_noted
from clip_engine.weights.http import split_login
from clip_worker.quoting import quote
from worker.cli.models.options import cache_dir_option, mirror_option
from worker.cli.options import json_lines_option
from worker.cli.output.columns import print_columns
from worker.cli.output.usage_error import WrongInputError

Cached: TypeAlias = Literal["verified", "unchecked", "partly", "no"]

HEADINGS = ("name", "pixels", "cached", "size", "file or host")


@click.command("list")
@cache_dir_option
@mirror_option
@json_lines_option
def command(cache_dir: Path, mirror: str | None, *, as_json: bool) -> None:
    """List the published models.

    "cached" is `verified`; `unchecked` for a file that is hashed before its first use; `partly`
    for an interrupted download, which the next one resumes; or `no`.
    """
    try:
        listed = [Listed.of(published, cache_dir, mirror) for published in PUBLISHED.values()]
    except OSError as error:
        raise WrongInputError(
            f"The cache {quote(str(cache_dir))} can't be read: {error.strerror}; choose another "
            "folder with --cache-dir."
        ) from error
    if as_json:
        for one in listed:
            click.echo(json.dumps(asdict(one)))
    else:
        print_columns(HEADINGS, (one.row() for one in listed))


@dataclass(frozen=True, slots=True)
class Listed:
    """A published model, as `--json` prints it.

    Attributes:
        name: Its name, for `--model`.
        resolution: Width and height of its input, in pixels.
        sha256: Digest of the file.
        url: Where it is downloaded from.
        cached: Whether it is in the cache.
        path: The file in the cache, if there is one.
        size_bytes: Size of that file.
    """

    name: str
    resolution: int
    sha256: str
    url: str
    cached: Cached = "no"
    path: str | None = None
    size_bytes: int | None = None

    @classmethod
    def of(cls, published: Published, cache_dir: Path, mirror: str | None) -> Self:
        """Look up a model.

        Raises:
            OSError: The cache can't be read.
        """
        url, _ = split_login(published.mirrored(mirror) if mirror else published.url)
        known = (published.name, published.input_resolution, published.sha256, url)
        path = cache_dir / published.filename
        if path.exists():
            checked: Cached = "verified" if is_noted(path, published.sha256) else "unchecked"
            return cls(*known, checked, str(path), path.stat().st_size)
        if (part := part_of(path)).exists():
            return cls(*known, "partly", str(part), part.stat().st_size)
        return cls(*known)

    def row(self) -> tuple[str, ...]:
        """The model's row of the table."""
        size = "" if self.size_bytes is None else decimal(self.size_bytes)
        place = self.path or urlsplit(self.url).netloc
        return self.name, str(self.resolution), self.cached, size, place
