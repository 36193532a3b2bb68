"""`clip-worker labels put`: stores labels in Redis under a name."""

from __future__ import annotations

from pathlib import Path

import click

from clip_worker import Client
from clip_worker.contract import LabelSet, parse
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.quoting import quote
from worker.cli.label_file import read_label_file
from worker.cli.labels.calibration_file import CalibrationFile
from worker.cli.labels.counted import counted
from worker.cli.labels.options import file_argument, hierarchical_option
from worker.cli.options import redis_url_option, text
from worker.cli.output.usage_error import say


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
    label_set = parse(LabelSet, {"labels": labels, "hierarchical": hierarchical})
    calibration = None
    if calibration_file is not None:
        read = CalibrationFile.read(calibration_file)
        read.check_labels(calibration_file, label_set)
        calibration = read.calibration
    with Client(redis_url) as client:
        if calibration is None and _is_calibrated(client, name):
            say(f"The calibration of {quote(name)} is dropped; fit one to the new labels.")
        version = client.put_label_set(
            name, labels, hierarchical=hierarchical, calibration=calibration
        )
    click.echo(f"Stored {counted(len(labels), 'label')} as {quote(name)}, version {version}.")


def _is_calibrated(client: Client, name: str) -> bool:
    """Whether there is a label set of this name, with a calibration."""
    try:
        return client.get_label_set(name).calibration is not None
    except (InvalidRequestError, ServiceError):  # there is none, or what is there can't be read
        return False
