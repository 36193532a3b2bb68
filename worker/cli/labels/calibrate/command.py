"""`clip-worker labels calibrate`: fits probabilities and thresholds to labelled images."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch

from clip_engine.errors import InputError
from clip_engine.scoring.calibration import FEWEST_IMAGES, NONE, fit
from clip_engine.scoring.cross_validation import cross_validate
from clip_engine.scoring.hierarchy import LabelTree
from clip_engine.scoring.logits import Logits, logits
from clip_engine.scoring.options import Score, Scoring
from clip_worker.contract import LabelSet, LabelSetCalibration, parse
from clip_worker.quoting import quote
from worker.cli.label_file import read_label_file
from worker.cli.labels.calibrate.pictures import Encoded, encode_images
from worker.cli.labels.calibrate.report import Report
from worker.cli.labels.calibrate.rows import LabelledImage, read_labelled_images
from worker.cli.labels.calibration_file import CalibrationFile
from worker.cli.labels.counted import counted
from worker.cli.labels.engine import loaded_engine
from worker.cli.labels.ensembles import ensemble_named
from worker.cli.labels.label_index import LabelIndex
from worker.cli.labels.options import (
    ensemble_option,
    hierarchical_option,
    model_option,
    template_option,
    templates_of,
)
from worker.cli.labels.sets import label_sets
from worker.cli.options import redis_url_option, text
from worker.cli.output.progress_line import ProgressLine
from worker.cli.output.screen import Screen
from worker.cli.output.usage_error import WrongInputError, say

if TYPE_CHECKING:
    from clip_engine.engine import Engine

LEAST_IMAGES = 50
MOST_IMAGES = 20_000
MOST_LOGITS = 25_000_000  # images times labels; the fit takes 40 bytes for each
MOST_LISTED = 10  # images that can't be read
SCORED_AT_ONCE = 256


@click.command("calibrate")
@click.argument(
    "csv_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CSV"
)
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File of the labels.",
)
@click.option(
    "--label-set", type=text, metavar="NAME", help="Stored label set, instead of --labels."
)
@hierarchical_option
@model_option
@template_option
@ensemble_option
@click.option(
    "--score",
    type=click.Choice(["softmax", "sigmoid"]),
    default="softmax",
    show_default=True,
    help="The score that requests will ask for.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the calibration to a file, for `labels put --calibration`.",
)
@click.option("--store", is_flag=True, help="Store it with the label set.")
@click.option("--strict", is_flag=True, help="Fail if an image can't be read, instead of skipping.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@redis_url_option
def command(  # noqa: PLR0913  # one argument per option
    csv_file: Path,
    labels_file: Path | None,
    label_set: str | None,
    *,
    hierarchical: bool,
    model: str | None,
    templates: tuple[str, ...],
    ensemble: str | None,
    score: Score,
    out: Path | None,
    store: bool,
    strict: bool,
    as_json: bool,
    redis_url: str,
) -> None:
    """Fit a temperature, the bias of "none of these" and thresholds to the images of CSV.

    The first line of CSV names its columns: image, a path beside the file or a data: URI, and
    label, the right label, or nothing if none of the labels fits. The model runs in this process.

    Requests with the same model, templates and score then get calibrated probabilities, if the
    calibration is stored with their label set.
    """
    wanted = _label_set(labels_file, label_set, redis_url, store=store, hierarchical=hierarchical)
    given = templates_of(templates, ensemble, ensemble_named)
    prompts = given if templates or ensemble else wanted.templates or given
    index = LabelIndex(wanted.labels, hierarchical=wanted.hierarchical)
    most = min(MOST_IMAGES, max(LEAST_IMAGES, MOST_LOGITS // len(wanted.labels)))
    images = read_labelled_images(csv_file, index, most)
    _check_enough(images.total, "row")
    if images.total > most:
        say(f"Takes {most:,} of the {images.total:,} rows, chosen at random.")
    with loaded_engine(model) as engine:
        encoded = _encoded(engine, images.kept, csv_file, strict=strict)
        report = _fit(engine, encoded, wanted, prompts, Scoring(score, none_of_these=True))
    click.echo(json.dumps(report.json_object()) if as_json else "\n".join(report.lines()))
    done = [f"Calibration {report.calibration.id}"]
    if out is not None:
        _write(out, wanted, report.calibration)
        done.append(f"is written to {out}")
    if store:
        version = _store(str(label_set), wanted, report.calibration, redis_url)
        done.append(f"{'and ' * (len(done) > 1)}is stored as {quote(label_set)}, version {version}")
    if not as_json and len(done) > 1:
        click.echo(" ".join(done) + ".")


def _label_set(
    file: Path | None, name: str | None, redis_url: str, *, store: bool, hierarchical: bool
) -> LabelSet:
    """The labels of either option.

    Raises:
        WrongInputError: Both were given, or neither; or an option does not go with them.
    """
    if (file is None) == (name is None):
        raise WrongInputError("Give --labels FILE or --label-set NAME, and not both.")
    if name is None:
        if store:
            raise WrongInputError(
                "--store needs --label-set NAME: store the labels with `clip-worker labels put`."
            )
        assert file is not None
        labels = [line.label for line in read_label_file(file)]
        return parse(LabelSet, {"labels": labels, "hierarchical": hierarchical})
    if hierarchical:
        raise WrongInputError("--hierarchical is for --labels; a label set says it itself.")
    with label_sets(redis_url) as sets:
        return sets.read(name)


def _check_enough(count: int, what: str) -> None:
    if count < LEAST_IMAGES:
        raise WrongInputError(
            f"There are only {counted(count, what)}; give at least {LEAST_IMAGES}, and better "
            f"{FEWEST_IMAGES} or more of each label: with fewer, the numbers would say more about "
            "these images than about the model."
        )


def _encoded(
    engine: Engine, rows: Sequence[LabelledImage], csv_file: Path, *, strict: bool
) -> Encoded:
    """The images, after saying which can't be read.

    Raises:
        WrongInputError: Too many of them can't, or with `strict`, one can't.
    """
    with ProgressLine(Screen.of(sys.stderr), "encoding images") as progress:
        encoded = encode_images(engine, rows, csv_file.parent, progress.update)
    sentences = list(_shown(csv_file, encoded.unreadable))
    if strict and sentences:
        raise WrongInputError("\n".join(sentences))
    for sentence in sentences:
        say(sentence)
    _check_enough(len(encoded.rows), "readable image")
    return encoded


def _shown(csv_file: Path, unreadable: Sequence[str]) -> Iterator[str]:
    for sentence in unreadable[:MOST_LISTED]:
        yield f"{csv_file}, {sentence}"
    if len(unreadable) > MOST_LISTED:
        yield f"And {len(unreadable) - MOST_LISTED:,} more images can't be read."


def _fit(
    engine: Engine,
    encoded: Encoded,
    label_set: LabelSet,
    templates: tuple[str, ...],
    scoring: Scoring,
) -> Report:
    labels = label_set.labels
    texts = LabelTree.of(labels).leaves if label_set.hierarchical else labels
    right = torch.tensor([row.right for row in encoded.rows])
    try:
        found = _logits(engine, encoded.features, texts, templates, scoring)
        checked = cross_validate(found, right, scoring)
        fitted = fit(found, right, scoring)
    except InputError as error:
        raise WrongInputError(str(error)) from error
    calibration = LabelSetCalibration(
        temperature=fitted.temperature,
        none_bias=fitted.none_bias,
        thresholds=fitted.thresholds,
        model_digest=engine.identity.digest,
        templates=templates,
        score=scoring.score,
        rows=fitted.rows,
    )
    counts = torch.bincount(right[right != NONE], minlength=len(labels)).tolist()
    return Report(calibration, checked, labels, counts, int((right == NONE).sum()), FEWEST_IMAGES)


def _logits(
    engine: Engine,
    features: torch.Tensor,
    texts: Sequence[str],
    templates: tuple[str, ...],
    scoring: Scoring,
) -> Logits:
    lists = engine.text_lists(texts, templates, scoring)
    text_features = engine.text_features([engine.labels.get(*each) for each in lists])
    parts = [
        logits(engine.model, chunk, text_features, scoring)
        for chunk in torch.split(features, SCORED_AT_ONCE)
    ]
    none = [part.none for part in parts if part.none is not None]
    return Logits(torch.cat([part.labels for part in parts]), torch.cat(none) if none else None)


def _write(file: Path, label_set: LabelSet, calibration: LabelSetCalibration) -> None:
    try:
        file.write_text(CalibrationFile.of(label_set, calibration).model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise WrongInputError(f"{file} can't be written: {error.strerror}.") from error


def _store(name: str, read: LabelSet, calibration: LabelSetCalibration, redis_url: str) -> str:
    """Store the set's new version and return it.

    Raises:
        WrongInputError: Its labels were changed meanwhile.
    """
    with label_sets(redis_url) as sets:
        now = sets.read(name)
        if (now.labels, now.hierarchical) != (read.labels, read.hierarchical):
            raise WrongInputError(
                f"The labels of {quote(name)} were replaced meanwhile; calibrate the new ones."
            )
        changed = parse(LabelSet, {**now.model_dump(), "calibration": calibration})
        sets.put(name, changed)
    return changed.version
