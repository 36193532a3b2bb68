"""`clip-worker labels put`: stores labels in Redis under a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from clip_worker.client.storage import check_set_name
from clip_worker.contract import LabelSet, Score, parse
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.quoting import quote
from clip_worker.redis.error_translation import translated
from worker.cli.labels.calibration_file import CalibrationFile
from worker.cli.labels.counted import counted
from worker.cli.labels.ensembles import ensemble_named
from worker.cli.labels.options import (
    ensemble_option,
    file_argument,
    hierarchical_option,
    template_option,
    templates_of,
)
from worker.cli.labels.set_file import read_set_file
from worker.cli.labels.sets import label_sets
from worker.cli.options import redis_url_option, text
from worker.cli.output.usage_error import say

if TYPE_CHECKING:
    from clip_worker.redis.label_sets import LabelSets


@click.command("put")
@click.argument("name", type=text, metavar="NAME")
@file_argument
@hierarchical_option
@template_option
@ensemble_option
@click.option(
    "--threshold",
    type=float,
    help="Least score of each label, for requests that give none; of one label: in FILE.",
)
@click.option(
    "--score",
    type=click.Choice(get_args(Score)),
    help="The score that thresholds are for. [default: softmax]",
)
@click.option(
    "--calibration",
    "calibration_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `clip-worker labels calibrate --out` has written for these labels.",
)
@redis_url_option
def command(  # noqa: PLR0913  # one argument per option
    name: str,
    file: Path,
    redis_url: str,
    *,
    hierarchical: bool,
    templates: tuple[str, ...],
    ensemble: str | None,
    threshold: float | None,
    score: Score | None,
    calibration_file: Path | None,
) -> None:
    """Store the labels of FILE under NAME, as its next version: 1, 2, 3 and so on.

    Requests then say label_set=NAME instead of labels, or NAME@3 for the third version. Workers use
    a new version within 5 seconds. The same content again makes no new version.

    In CSV, a column named threshold has the least score of each label. A JSON object may have
    templates, thresholds, score, hierarchical and calibration, as `labels show --json` prints them.
    """
    check_set_name(name)
    fields = read_set_file(file)
    if hierarchical:
        fields["hierarchical"] = True
    if templates or ensemble:
        fields["templates"] = templates_of(templates, ensemble, ensemble_named)
    if threshold is not None:
        fields["thresholds"] = [threshold] * len(fields["labels"])
    if score is not None:
        fields["score"] = score
    label_set = _calibrated(parse(LabelSet, fields), calibration_file)
    with translated(redis_url), label_sets(redis_url) as sets:
        if label_set.calibration is None and _is_calibrated(sets, name):
            say(f"The calibration of {quote(name)} is dropped; fit one to the new labels.")
        stored = sets.put(name, label_set)
    where = f"{quote(f'{name}@{stored.number}')}, version {label_set.version}"
    count = counted(len(label_set.labels), "label")
    click.echo(f"Stored {count} as {where}." if stored.is_new else f"Nothing changed: {where}.")


def _calibrated(label_set: LabelSet, file: Path | None) -> LabelSet:
    if file is None:
        return label_set
    read = CalibrationFile.read(file)
    read.check_labels(file, label_set)
    fields: dict[str, Any] = label_set.model_dump() | {"calibration": read.calibration}
    return parse(LabelSet, fields)


def _is_calibrated(sets: LabelSets, name: str) -> bool:
    """Whether there is a label set of this name, with a calibration."""
    try:
        return sets.read(name).calibration is not None
    except (InvalidRequestError, ServiceError):  # there is none, or what is there can't be read
        return False
