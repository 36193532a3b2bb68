"""`clip-worker models verify`: cached files against the digests that were published."""

from __future__ import annotations

from pathlib import Path

import click

from clip_engine.errors import DownloadError, ModelNotFoundError
from clip_engine.weights.catalog import PUBLISHED, Published
from clip_engine.weights.checksum import recomputed_digest
from clip_engine.weights.hub_checksums import damaged_files
from clip_engine.weights.known import known_models
from clip_engine.weights.locate import locate_model
from clip_engine.weights.located import LocatedModel
from worker.cli.models.options import cache_dir_option, download_hint
from worker.cli.output.usage_error import WrongInputError, say


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@cache_dir_option
def command(names: tuple[str, ...], cache_dir: Path) -> int:
    """Verify the cached files of the models NAME..., or of all listed ones, by their hashes.

    A worker hashes a file of OpenAI's once and then compares only size and time; files of the
    Hugging Face hub are compared by size when they are downloaded. This finds all other changes.
    The exit status is 1 if a file is damaged or missing, 2 for invalid input.
    """
    named = list(dict.fromkeys(names)) or _cached(cache_dir)
    if not named:
        click.echo(f"There are no published models in {cache_dir}.")
    faults = [_fault(name, cache_dir) for name in named]
    return 1 if any(faults) else 0


def _cached(cache_dir: Path) -> list[str]:
    """The names of the listed models that are in a cache."""
    openai = [name for name, one in PUBLISHED.items() if (cache_dir / one.filename).exists()]
    return openai + [model.name for model in known_models() if model.cached()]


def _fault(name: str, cache_dir: Path) -> bool:
    """Check a model and report it; whether something is wrong with it."""
    if name in PUBLISHED:
        published = PUBLISHED[name]
        return _openai_fault(published, cache_dir / published.filename)
    try:
        return _hub_fault(locate_model(name, cache_dir, offline=True))
    except ModelNotFoundError as error:
        raise WrongInputError(str(error)) from error
    except DownloadError as error:
        say(str(error))
        return True


def _openai_fault(published: Published, path: Path) -> bool:
    try:
        digest = recomputed_digest(path, published.sha256)
    except FileNotFoundError:
        say(f"{path} does not exist; download it with {download_hint(published.name)}.")
        return True
    except OSError as error:
        return _unreadable(error, path)
    if digest != published.sha256:
        say(
            f"{path} is damaged: its SHA-256 is {digest} instead of {published.sha256}; download "
            f"it again with {download_hint(published.name)}."
        )
        return True
    click.echo(f"{published.name}: {path}, verified")
    return False


def _hub_fault(model: LocatedModel) -> bool:
    if model.revision is None:
        raise WrongInputError(
            f"{model.name!r} was not downloaded, so there is no hash to compare it with; give the "
            "name of a model of OpenAI or of the Hugging Face hub."
        )
    folder = model.path if model.path.is_dir() else model.path.parent
    try:
        folders = (folder, *model.companions.values())
        damaged = [path for one in folders for path in damaged_files(one)]
    except OSError as error:
        return _unreadable(error, folder)
    for path in damaged:
        say(
            f"{path} is damaged: its hash is not {path.resolve().name}; delete it and download it "
            f"again with {download_hint(model.name)}."
        )
    if not damaged:
        click.echo(f"{model.name}: {folder}, verified")
    return bool(damaged)


def _unreadable(error: OSError, path: Path) -> bool:
    say(f"{error.filename or path} can't be read: {error.strerror}; check its permissions.")
    return True
