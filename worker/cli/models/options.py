"""Options and arguments that the commands of `models` share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

import click
from click.core import ParameterSource

from clip_engine.weights.cache import default_cache_dir
from clip_engine.weights.catalog import PUBLISHED, Published
from clip_worker.quoting import quote
from worker.cli.output.usage_error import WrongInputError
from worker.mirror_url import EXAMPLE, check_mirror_url
from worker.variables import ENV_PREFIX

cache_dir_option = click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    default=default_cache_dir,
    envvar=f"{ENV_PREFIX}CACHE_DIR",
    show_default="~/.cache/clip",
    help="Folder that weights are kept in.",
)
mirror_option = click.option(
    "--mirror",
    metavar="URL",
    envvar=f"{ENV_PREFIX}MIRROR",
    callback=lambda _context, _option, url: check_mirror_url(url) if url else None,
    help=f"Download from <URL>/<sha256>/<file> instead of the publisher; URL as in {EXAMPLE}.",
)


def find_published(names: Iterable[str]) -> list[Published]:
    """The published models of these names, without duplicates.

    Raises:
        WrongInputError: A name is unknown.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in PUBLISHED:
            raise WrongInputError(
                f"There is no published model {quote(name)}; the names are {', '.join(PUBLISHED)}."
            )
    return [PUBLISHED[name] for name in names]


def download_hint(name: str) -> str:
    """The command line that downloads a model to the cache of the running command."""
    words = ["clip-worker", "models", "download", name]
    context = click.get_current_context()
    if context.get_parameter_source("cache_dir") is ParameterSource.COMMANDLINE:
        words += ["--cache-dir", str(context.params["cache_dir"])]
    return f"`{shlex.join(words)}`"
