"""`clip-worker labels list`: the label sets that are stored in Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from clip_worker.contract import LabelSet
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.redis.label_sets import LabelSets
from worker.cli.labels.sets import label_sets
from worker.cli.labels.show import json_object
from worker.cli.options import json_lines_option, redis_url_option
from worker.cli.output.columns import print_columns
from worker.cli.output.table import printable
from worker.cli.output.usage_error import say

HEADINGS = ("name", "version", "labels", "kind", "calibration")


@click.command("list")
@redis_url_option
@json_lines_option
def command(redis_url: str, *, as_json: bool) -> int:
    """List the label sets, sorted by name. The exit status is 1 if one of them can't be read."""
    unreadable: list[str] = []
    with label_sets(redis_url) as sets:
        found = list(_read_all(sets, unreadable))
    if as_json:
        for name, label_set in found:
            click.echo(json.dumps(json_object(name, label_set)))
    elif found:
        print_columns(HEADINGS, (_row(name, label_set) for name, label_set in found))
    elif not unreadable:
        click.echo("There are no label sets; store one with `clip-worker labels put NAME FILE`.")
    for sentence in unreadable:
        say(sentence)
    return 1 if unreadable else 0


def _read_all(sets: LabelSets, unreadable: list[str]) -> Iterator[tuple[str, LabelSet]]:
    """All sets; `unreadable` gets a sentence about each that is none."""
    for name in sets.names():
        try:
            yield name, sets.read(name)
        except InvalidRequestError:  # deleted since it was listed
            continue
        except ServiceError as error:
            unreadable.append(str(error))


def _row(name: str, label_set: LabelSet) -> tuple[str, ...]:
    kind = "hierarchical" if label_set.hierarchical else "plain"
    calibration = label_set.calibration.id if label_set.calibration else "none"
    return printable(name), label_set.version, f"{len(label_set.labels):,}", kind, calibration
