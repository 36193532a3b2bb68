"""`clip-worker models verify`: cached files against the published digests."""

from __future__ import annotations

from pathlib import Path

import click

from clip_engine.weights.catalog import PUBLISHED, Published
from clip_engine.weights.checksum import recomputed_digest
from worker.cli.models.options import cache_dir_option, download_hint, find_published
from worker.cli.output.usage_error import say


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@cache_dir_option
def command(names: tuple[str, ...], cache_dir: Path) -> int:
    """Verify the cached files of the models NAME..., or of all, by their hashes.

    A worker hashes a file once and then compares only size and time; this also finds changes that
    affect neither. The exit status is 1 if a file is damaged or missing, 2 for invalid input.
    """
    named = find_published(names)
    models = named or [one for one in PUBLISHED.values() if (cache_dir / one.filename).exists()]
    if not models:
        click.echo(f"There are no published models in {cache_dir}.")
    faults = [_fault(published, cache_dir / published.filename) for published in models]
    return 1 if any(faults) else 0


def _fault(published: Published, path: Path) -> bool:
    """Check one file and report it; whether something is wrong with it."""
    try:
        digest = recomputed_digest(path, published.sha256)
    except FileNotFoundError:
        say(f"{path} does not exist; download it with {download_hint(published.name)}.")
        return True
    except OSError as error:
        say(f"{error.filename or path} can't be read: {error.strerror}; check its permissions.")
        return True
    if digest != published.sha256:
        say(
            f"{path} is damaged: its SHA-256 is {digest} instead of {published.sha256}; download "
            f"it again with {download_hint(published.name)}."
        )
        return True
    click.echo(f"{published.name}: {path}, verified")
    return False
