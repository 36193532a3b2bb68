"""`clip-worker labels put`: stores labels in Redis under a name."""

from __future__ import annotations

from pathlib import Path

import click

from clip_worker import Client
from clip_worker.contract import LabelSetCalibration, parse
from clip_worker.contract.text import read_json
from clip_worker.quoting import quote
from worker.cli.label_file import read_label_file
from worker.cli.labels.counted import counted
from worker.cli.labels.options import file_argument, hierarchical_option
from worker.cli.options import redis_url_option, text
from worker.cli.output.usage_error import WrongInputError


@click.command("put")
@click.argument("name", type=text, metavar="NAME")
@file_argument
@hierarchical_option
@click.option(
    "--calibration",
    "calibration_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `clip-worker labels calibrate --out` has written for these labels.",
)
@redis_url_option
def command(
    name: str, file: Path, redis_url: str, *, hierarchical: bool, calibration_file: Path | None
) -> None:
    """Store the labels of FILE under NAME; a set of this name is replaced.

    Requests then say label_set=NAME instead of labels. Workers use a new version within 5 seconds.
    """
    labels = [line.label for line in read_label_file(file)]
    calibration = None if calibration_file is None else read_calibration(calibration_file)
    with Client(redis_url) as client:
        version = client.put_label_set(
            name, labels, hierarchical=hierarchical, calibration=calibration
        )
    click.echo(f"Stored {counted(len(labels), 'label')} as {quote(name)}, version {version}.")


def read_calibration(file: Path) -> LabelSetCalibration:
    """The calibration in a file.

    Raises:
        WrongInputError: It can't be read.
        InvalidRequestError: It is not a calibration.
    """
    try:
        found = read_json(file.read_bytes())
    except OSError as error:
        raise WrongInputError(f"{file} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise WrongInputError(f"{file} is not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise WrongInputError(
            f"{file} is not a calibration; give what `clip-worker labels calibrate --out` wrote."
        )
    return parse(LabelSetCalibration, found)
