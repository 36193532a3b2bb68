"""`clip-worker labels rm`: removes label sets, or versions of them."""

from __future__ import annotations

import click

from clip_worker.contract.label_set_names import split_version
from clip_worker.quoting import quote
from clip_worker.redis.error_translation import translated
from clip_worker.redis.label_sets import LabelSets
from worker.cli.labels.counted import counted
from worker.cli.labels.sets import label_sets
from worker.cli.options import redis_url_option, text
from worker.cli.output.usage_error import WrongInputError


@click.command("rm")
@click.argument("name", type=text, metavar="NAME")
@click.option("--yes", is_flag=True, help="Confirm that a set goes with all its versions.")
@redis_url_option
def command(name: str, redis_url: str, *, yes: bool) -> None:
    """Remove the label set NAME with all its versions, or one version, such as animals@3.

    The newest of several versions can't be removed: requests for NAME would get older labels.
    """
    with translated(redis_url), label_sets(redis_url) as sets:
        if split_version(name)[1] is None and not yes:
            raise WrongInputError(_unconfirmed(sets, name))
        sets.remove(name)
    click.echo(f"Removed {quote(name)}.")


def _unconfirmed(sets: LabelSets, name: str) -> str:
    sets.read(name)  # or there is no such set
    versions = [each for each in sets.versions() if each.name == name]
    what = counted(max(1, len(versions)), "version")
    return f"This would remove {quote(name)} with {what} for good; add --yes to confirm."
