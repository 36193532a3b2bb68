"""`clip-worker classify`: sends images and prints the results."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from clip_worker import Client
from clip_worker.client.image_file import REDIS_MAX_BYTES
from clip_worker.contract import (
    DEFAULT_K,
    DEFAULT_SCORE,
    DEFAULT_TEMPLATE,
    ClassifyManyRequest,
    Outcome,
    Score,
    parse,
)
from clip_worker.contract.option_types import PROBABILITIES
from clip_worker.contract.signatures import KEYS_VARIABLE
from clip_worker.errors import ResultTimeoutError
from clip_worker.quoting import without_password
from worker.cli.classify.image_arguments import ImageArgument, find_images
from worker.cli.classify.progress import with_progress
from worker.cli.classify.sender import in_order, send
from worker.cli.label_file import read_label_file
from worker.cli.options import json_lines_option, queue_option, redis_url_option, text
from worker.cli.output.screen import Screen
from worker.cli.output.table import NONE_OF_THESE, OutcomeTable
from worker.cli.output.usage_error import WrongInputError, say

Outcomes = Iterable[tuple[int, Outcome]]

PRINTED = {"predictions", "model", "none_of_these", "label_set", "levels"}  # of a result, as JSON


@click.command("classify")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--labels", type=text, multiple=True, metavar="A,B,C", help="Labels to choose from.")
@click.option(
    "--labels-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with more labels: one per line, CSV or JSON (docs/labels.md).",
)
@click.option(
    "--label-set", type=text, metavar="NAME", help="Labels that Client.put_label_set has stored."
)
@click.option("-k", type=int, default=DEFAULT_K, show_default=True, help="Labels per image.")
@click.option(
    "--template",
    "templates",
    type=text,
    multiple=True,
    metavar="TEXT",
    help=f"Prompt for a label; may be given several times. [default: {DEFAULT_TEMPLATE!r}]",
)
@click.option(
    "--ensemble",
    type=text,
    metavar="NAME",
    help="Named set of prompts: photo, imagenet (80) or imagenet-simple (7).",
)
@click.option(
    "--score",
    type=click.Choice(get_args(Score)),
    default=DEFAULT_SCORE,
    show_default=True,
    help="What orders the labels: probabilities over all labels, a probability for each label by "
    "itself, cosines, or logits.",
)
@click.option(
    "--none-of-these", is_flag=True, help="Print the probability that no label fits, too."
)
@click.option(
    "--threshold",
    type=float,
    help="Omit labels with a lower score: 0 to 1, or -1 to 1 for cosine.",
)
@json_lines_option
@redis_url_option
@queue_option
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    metavar="SECONDS",
    show_default=True,
    help="Longest wait for the next result.",
)
def command(  # noqa: PLR0913  # one argument per option
    images: tuple[str, ...],
    labels: tuple[str, ...],
    labels_file: Path | None,
    label_set: str | None,
    k: int,
    *,
    templates: tuple[str, ...],
    ensemble: str | None,
    score: Score,
    none_of_these: bool,
    threshold: float | None,
    as_json: bool,
    redis_url: str,
    queue: str,
    timeout_s: float,
) -> int:
    """Find the labels that fit each IMAGE best.

    An IMAGE is a file, a folder (searched recursively), a quoted glob, or a URL: http, https, s3,
    gs, az, data or file. Files are uploaded to Redis, so the workers need no access to them; URLs
    are fetched by the workers.

    The table lists the images in the order given; --json prints each as soon as its result is
    there. An image that fails has a line with the reason. The exit status is 1 if any image failed,
    2 for invalid input.
    """
    prompts = {"templates": list(templates) or None, "ensemble": ensemble}
    options = _checked(
        labels=_labels(labels, labels_file, label_set),
        label_set=label_set,
        k=k,
        score=score,
        none_of_these=none_of_these,
        threshold=threshold,
        **prompts,
    )
    found = find_images(images)
    opened = Client(
        redis_url,
        queue=queue,
        max_upload_bytes=REDIS_MAX_BYTES,
        signing_keys=os.environ.get(KEYS_VARIABLE) or None,
    )
    with opened as client, _hint_at_worker(redis_url, queue, timeout_s):
        client.ping()
        shown = options.get("labels") or client.get_label_set(str(label_set)).labels
        outcomes = send(client, found, timeout_s=timeout_s, **options)
        failed = _print(found, outcomes, _table(found, shown, options), as_json=as_json)
    if failed:
        say(f"{failed} of {len(found)} images failed.")
    return 1 if failed else 0


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


def _checked(**given: Any) -> dict[str, Any]:
    """The options of the request, validated before any image is sent.

    Raises:
        InvalidRequestError: Everything that is wrong with them.
    """
    options = {name: value for name, value in given.items() if value is not None}
    parse(ClassifyManyRequest, {"images": ["data:,"], **options})
    return options


@contextlib.contextmanager
def _hint_at_worker(url: str, queue: str, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except ResultTimeoutError as error:
        raise ResultTimeoutError(
            f"No result within {timeout_s:g} s: no worker seems to take tasks from the queue "
            f"{queue!r} at {without_password(url)}; start one with `clip-worker start`, or wait "
            "longer with --timeout."
        ) from error


def _table(
    images: Sequence[ImageArgument], labels: Sequence[str], options: Mapping[str, Any]
) -> OutcomeTable:
    """The table for outcomes of images with these labels and options."""
    lines = [*labels, NONE_OF_THESE] if options["none_of_these"] else labels
    return OutcomeTable(
        Screen.of(sys.stdout),
        [image.name for image in images],
        lines,
        has_scores=options["score"] not in PROBABILITIES,
    )


def _print(
    images: Sequence[ImageArgument], outcomes: Outcomes, table: OutcomeTable, *, as_json: bool
) -> int:
    """Print all outcomes and return how many images failed."""
    shown = with_progress(outcomes, len(images), Screen.of(sys.stderr))
    if as_json:
        return _print_json(images, shown)
    return _print_table(images, shown, table)


def _print_json(images: Sequence[ImageArgument], outcomes: Outcomes) -> int:
    failed = 0
    for position, outcome in outcomes:
        click.echo(json.dumps(_json_object(images[position].name, outcome)))
        failed += outcome.status == "error"
    return failed


def _json_object(name: str, outcome: Outcome) -> dict[str, Any]:
    if outcome.result is not None:
        result = outcome.result.model_dump(mode="json", include=PRINTED, exclude_none=True)
        return {"image": name, **result}
    assert outcome.error is not None
    return {"image": name, "error": outcome.error.model_dump(mode="json")}


def _print_table(images: Sequence[ImageArgument], outcomes: Outcomes, table: OutcomeTable) -> int:
    table.print_header()
    failed = 0
    for position, outcome in in_order(outcomes):
        table.print_outcome(images[position].name, outcome)
        failed += outcome.status == "error"
    return failed
