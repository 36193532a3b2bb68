"""Options and arguments that the commands of `models` share."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
from click.core import ParameterSource

from clip_engine.weights.cache import default_cache_dir
from worker.mirror_url import EXAMPLE, check_mirror_url
from worker.variables import ENV_PREFIX

cache_dir_option = click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    default=default_cache_dir,
    envvar=f"{ENV_PREFIX}CACHE_DIR",
    show_default="~/.cache/clip",
    help="Folder that OpenAI's weights are kept in.",
)
mirror_option = click.option(
    "--mirror",
    metavar="URL",
    envvar=f"{ENV_PREFIX}MIRROR",
    callback=lambda _context, _option, url: check_mirror_url(url) if url else None,
    help="Download OpenAI's weights from <URL>/<sha256>/<file>, not from the publisher; URL as in "
    f"{EXAMPLE}.",
)


def size_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size


def download_hint(name: str) -> str:
    """The command line that downloads a model to the cache of the running command."""
    words = ["clip-worker", "models", "download", name]
    context = click.get_current_context()
    if context.get_parameter_source("cache_dir") is ParameterSource.COMMANDLINE:
        words += ["--cache-dir", str(context.params["cache_dir"])]
    return f"`{shlex.join(words)}`"
