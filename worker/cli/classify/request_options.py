"""The options that say what is asked about each image, for the commands that send images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from clip_worker.contract import (
    DEFAULT_K,
    DEFAULT_SCORE,
    DEFAULT_TEMPLATE,
    ClassifyManyRequest,
    Score,
    parse,
)
from worker.cli.label_file import read_label_file
from worker.cli.options import text
from worker.cli.output.usage_error import WrongInputError

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--labels", type=text, multiple=True, metavar="A,B,C", help="Labels to choose from."
    ),
    click.option(
        "--labels-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with more labels: one per line, CSV or JSON (docs/labels.md).",
    ),
    click.option(
        "--label-set",
        type=text,
        metavar="NAME",
        help="Labels that Client.put_label_set has stored.",
    ),
    click.option("-k", type=int, default=DEFAULT_K, show_default=True, help="Labels per image."),
    click.option(
        "--template",
        "templates",
        type=text,
        multiple=True,
        metavar="TEXT",
        help=f"Prompt for a label; may be given several times. [default: {DEFAULT_TEMPLATE!r}]",
    ),
    click.option(
        "--ensemble",
        type=text,
        metavar="NAME",
        help="Named set of prompts: photo, imagenet (80) or imagenet-simple (7).",
    ),
    click.option(
        "--score",
        type=click.Choice(get_args(Score)),
        default=DEFAULT_SCORE,
        show_default=True,
        help="What orders the labels: probabilities over all labels, a probability for each label "
        "by itself, cosines, or logits.",
    ),
    click.option(
        "--none-of-these", is_flag=True, help="Print the probability that no label fits, too."
    ),
    click.option(
        "--threshold",
        type=float,
        help="Omit labels with a lower score: 0 to 1, or -1 to 1 for cosine.",
    ),
)
_NAMES = ("label_set", "k", "ensemble", "score", "none_of_these", "threshold")


def request_options(command: Command) -> Command:
    """Add the options to a command, which passes them to `read_request`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_request(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the request, validated before any image is sent.

    Args:
        given: The values of all options above, by the names of their parameters; and perhaps
            others.

    Raises:
        WrongInputError: There are no labels, or the file with labels can't be read.
        InvalidRequestError: Everything that is wrong with them.
    """
    labels = _labels(given["labels"], given["labels_file"], given["label_set"])
    found = {name: given[name] for name in _NAMES}
    found |= {"labels": labels, "templates": list(given["templates"]) or None}
    options = {name: value for name, value in found.items() if value is not None}
    parse(ClassifyManyRequest, {"images": ["data:,"], **options})
    return options


def _labels(listed: Sequence[str], file: Path | None, label_set: str | None) -> list[str] | None:
    """The labels of both options; None if there are none, but a label set.

    >>> _labels(["cat, dog", "car"], None, None)
    ['cat', 'dog', 'car']
    """
    labels = [label.strip() for part in listed if part for label in part.split(",")]
    if file is not None:
        labels += [line.label for line in read_label_file(file)]
    if not labels and label_set is None:
        raise WrongInputError(
            "There are no labels; use --labels cat,dog,..., --labels-file or --label-set."
        )
    return labels or None
