"""`clip-worker models download`: downloads models to their caches."""

from __future__ import annotations

from pathlib import Path

import click
from rich.filesize import decimal

from clip_engine.errors import DownloadError, ModelNotFoundError
from clip_engine.weights.locate import locate_model
from clip_engine.weights.located import LocatedModel
from worker.cli.models.options import cache_dir_option, mirror_option, size_bytes
from worker.cli.output.usage_error import WrongInputError, say
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
    help="Don't use the network; only check what is cached.",
)
def command(names: tuple[str, ...], cache_dir: Path, mirror: str | None, *, offline: bool) -> int:
    """Download the models NAME...; files in a cache are not downloaded again.

    A NAME is any that a worker takes. OpenAI's models are verified by their hashes; of the others
    the Hugging Face hub is asked whether their branch has moved. An interrupted download is
    resumed. If another process is downloading the same model, this one waits for it. The exit
    status is 1 if a model could not be downloaded, 2 for invalid input.
    """
    failed = 0
    for name in dict.fromkeys(names):
        try:
            with download_progress(name) as progress:
                model = locate_model(
                    name, cache_dir, progress, mirror=mirror, offline=offline, refresh=True
                )
        except ModelNotFoundError as error:
            raise WrongInputError(str(error)) from error
        except DownloadError as error:
            say(str(error))
            failed += 1
        else:
            click.echo(_report(model))
    return 1 if failed else 0


def _report(model: LocatedModel) -> str:
    size = decimal(size_bytes(model.path))
    state = "verified" if model.revision is None else f"commit {model.revision}"
    return f"{model.name}: {model.path}, {size}, {state}"
