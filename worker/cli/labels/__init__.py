"""`clip-worker labels`: checks, stores and calibrates lists of labels."""

from __future__ import annotations

import click

from worker.cli.lazy_group import LazyGroup

COMMANDS = {
    "check": "Find labels that are repeated, too long, or nearly the same to the model.",
    "calibrate": "Fit probabilities and thresholds to labelled images.",
    "put": "Store labels in Redis under a name, for requests that name them.",
    "show": "Show a stored label set: labels, version, templates, calibration.",
    "list": "List the stored label sets, or the versions of one.",
    "diff": "Show what changed between two versions.",
    "rm": "Remove a label set, or one version of it.",
}
NEEDS_WORKER = ("check", "calibrate")


@click.group(
    "labels", cls=LazyGroup, package="worker.cli.labels", lines=COMMANDS, needs_worker=NEEDS_WORKER
)
def command() -> None:
    """Check lists of labels, and keep them in Redis as label sets.

    A FILE of labels has one label per line, with # comments; or it is CSV, with a single column
    or a column named label; or it is a JSON list.
    """
