"""`clip-worker labels show`: a label set that is stored in Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import repeat

import click

from clip_worker.contract import LabelSet
from clip_worker.contract.label_set_names import exact_name
from worker.cli.labels.counted import counted
from worker.cli.labels.sets import label_sets
from worker.cli.options import redis_url_option, text
from worker.cli.output.screen import cells, fit
from worker.cli.output.table import printable

DIGEST_DIGITS = 12


@click.command("show")
@click.argument("name", type=text, metavar="NAME")
@redis_url_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(name: str, redis_url: str, *, as_json: bool) -> None:
    """Show the label set NAME, or a version of it, such as animals@3, with its labels."""
    with label_sets(redis_url) as sets:
        label_set = sets.read(name)
    if as_json:
        click.echo(json.dumps(json_object(name, label_set)))
        return
    for line in _lines(name, label_set):
        click.echo(printable(line))


def json_object(name: str, label_set: LabelSet) -> dict[str, object]:
    """A label set as `--json` prints it."""
    fields = label_set.model_dump(mode="json")
    if label_set.calibration is not None:
        fields["calibration"] = {"id": label_set.calibration.id, **fields["calibration"]}
    return {"name": name, "version": label_set.version, **fields}


def _lines(name: str, label_set: LabelSet) -> Iterator[str]:
    kind = "hierarchical" if label_set.hierarchical else "plain"
    yield f"name         {exact_name(name, label_set.number)}"
    yield f"version      {label_set.version}"
    yield f"labels       {len(label_set.labels):,}, {kind}"
    for template in label_set.templates or ():
        yield f"template     {template}"
    if label_set.thresholds:
        yield f"thresholds   for the score {label_set.score}"
    yield from _calibration(label_set)
    thresholds = label_set.calibration.thresholds if label_set.calibration else None
    thresholds = thresholds or label_set.thresholds
    width = max(map(cells, label_set.labels)) if thresholds else 0
    for label, threshold in zip(label_set.labels, thresholds or repeat(None), strict=False):
        least = "" if threshold is None else f"  threshold {threshold:.3g}"
        yield f"  {fit(label, width) if least else label}{least}"


def _calibration(label_set: LabelSet) -> Iterator[str]:
    calibration = label_set.calibration
    if calibration is None:
        yield "calibration  none"
        return
    yield f"calibration  {calibration.id}, fitted to {counted(calibration.rows, 'image')}"
    yield f"  score        {calibration.score}"
    yield f"  temperature  {calibration.temperature:.4g}"
    yield f"  none bias    {calibration.none_bias:.4g}"
    yield f"  model        {calibration.model_digest[:DIGEST_DIGITS]}..."
    for template in calibration.templates:
        yield f"  template     {template}"
