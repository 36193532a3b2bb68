"""`clip-worker labels list`: the label sets that are stored in Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import click

from clip_worker.contract import LabelSet
from clip_worker.contract.label_set_names import exact_name
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.redis.label_sets import LabelSets
from worker.cli.labels.sets import label_sets
from worker.cli.labels.show import json_object
from worker.cli.options import json_lines_option, redis_url_option, text
from worker.cli.output.columns import print_columns
from worker.cli.output.table import printable
from worker.cli.output.usage_error import say

HEADINGS = ("name", "version", "labels", "kind", "calibration")


@click.command("list")
@click.argument("name", type=text, metavar="[NAME]", required=False)
@redis_url_option
@json_lines_option
def command(name: str | None, redis_url: str, *, as_json: bool) -> int:
    """List the newest version of each label set, sorted by name; or all versions of NAME.

    The exit status is 1 if one of them can't be read.
    """
    unreadable: list[str] = []
    with label_sets(redis_url) as sets:
        names = sets.names() if name is None else _versions(sets, name)
        found = list(_read_all(sets, names, unreadable))
    if as_json:
        for each in found:
            click.echo(json.dumps(json_object(*each)))
    elif found:
        print_columns(HEADINGS, (_row(name, label_set) for name, label_set in found))
    elif not unreadable:
        click.echo("There are no label sets; store one with `clip-worker labels put NAME FILE`.")
    for sentence in unreadable:
        say(sentence)
    return 1 if unreadable else 0


def _versions(sets: LabelSets, name: str) -> list[str]:
    """The names of all versions of a set.

    Raises:
        InvalidRequestError: `UNKNOWN_LABEL_SET`.
    """
    found = [each.exact_name for each in sets.versions() if each.name == name]
    if not found:
        sets.read(name)  # one without numbers, or none
    return found or [name]


def _read_all(
    sets: LabelSets, names: Sequence[str], unreadable: list[str]
) -> Iterator[tuple[str, LabelSet]]:
    """The sets of these names; `unreadable` gets a sentence about each that is none."""
    for name in names:
        try:
            yield name, sets.read(name)
        except InvalidRequestError:  # deleted since it was listed
            continue
        except ServiceError as error:
            unreadable.append(str(error))


def _row(name: str, label_set: LabelSet) -> tuple[str, ...]:
    kind = "hierarchical" if label_set.hierarchical else "plain"
    calibration = label_set.calibration.id if label_set.calibration else "none"
    name = exact_name(name, label_set.number)
    return printable(name), label_set.version, f"{len(label_set.labels):,}", kind, calibration
