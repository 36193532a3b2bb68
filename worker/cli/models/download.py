"""`clip-worker models download`: downloads published weights to the cache."""

from __future__ import annotations

from pathlib import Path

import click
from rich.filesize import decimal

from clip_engine.errors import DownloadError
from clip_engine.weights.cache import fetch_weights
from worker.cli.models.options import cache_dir_option, find_published, mirror_option
from worker.cli.output.usage_error import say
from worker.runtime.download_progress import download_progress
from worker.variables import ENV_PREFIX


@click.command("download")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@cache_dir_option
@mirror_option
@click.option(
    "--offline",
    is_flag=True,
    envvar=f"{ENV_PREFIX}OFFLINE",
    help="Don't use the network; only verify what is cached.",
)
def command(names: tuple[str, ...], cache_dir: Path, mirror: str | None, *, offline: bool) -> int:
    """Download the models NAME... and verify them; models in the cache are not downloaded again.

    An interrupted download is resumed. If another process is downloading the same model, this one
    waits for it. The exit status is 1 if a model could not be downloaded, 2 for invalid input.
    """
    failed = 0
    for published in find_published(names):
        try:
            with download_progress(published.name) as progress:
                path = fetch_weights(
                    published,
                    cache_dir,
                    mirror=mirror,
                    offline=offline,
                    progress=progress,
                )
        except DownloadError as error:
            say(str(error))
            failed += 1
        else:
            size = decimal(path.stat().st_size)
            click.echo(f"{published.name}: {path}, {size}, verified")
    return 1 if failed else 0
