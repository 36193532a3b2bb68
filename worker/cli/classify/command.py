"""`clip-worker classify`: sends images and prints the results."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from clip_worker.bulk.run import LONGEST_WAIT_S
from clip_worker.contract import Outcome
from clip_worker.contract.option_types import PROBABILITIES
from clip_worker.errors import ResultTimeoutError
from clip_worker.quoting import quote, without_password
from worker.cli.classify.backfill import backfill
from worker.cli.classify.backfill_options import BackfillOptions, backfill_options
from worker.cli.classify.image_arguments import ImageArgument, find_images
from worker.cli.classify.progress import with_progress
from worker.cli.classify.request_options import read_request, request_options
from worker.cli.classify.sender import in_order, send
from worker.cli.open_client import open_client
from worker.cli.options import json_lines_option, queue_option, redis_url_option, tenant_option
from worker.cli.output.screen import Screen
from worker.cli.output.table import NONE_OF_THESE, OutcomeTable
from worker.cli.output.usage_error import WrongInputError, say

Outcomes = Iterable[tuple[int, Outcome]]

TIMEOUT_S = 60.0
PRINTED = {"predictions", "model", "none_of_these", "label_set", "levels"}  # of a result, as JSON


@click.command("classify")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@request_options
@backfill_options
@json_lines_option
@redis_url_option
@queue_option
@tenant_option
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Longest wait for the next result. [default: 60; with --from 600]",
)
def command(  # noqa: PLR0913  # one argument per option
    images: tuple[str, ...],
    *,
    as_json: bool,
    redis_url: str,
    queue: str,
    tenant: str | None,
    timeout_s: float | None,
    **others: Any,
) -> int:
    """Find the labels that fit each IMAGE best.

    An IMAGE is a file, a folder (searched recursively), a quoted glob, or a URL: http, https, s3,
    gs, az, data or file. Files are uploaded to Redis, so the workers need no access to them; URLs
    are fetched by the workers.

    The table lists the images in the order given; --json prints each as soon as its result is
    there. An image that fails has a line with the reason. The exit status is 1 if any image failed,
    2 for invalid input.

    For millions of images, --from reads them from a table, a list, a folder or a bucket, --to says
    where the results go, and the same command continues what was interrupted.
    """
    places = BackfillOptions.of(others)
    _check_images(images, is_backfill=places is not None, as_json=as_json)
    options = read_request(others)
    found = find_images(images)
    opened = open_client(redis_url, queue)
    if places is not None:
        with opened as client:
            client.ping()
            return backfill(
                client, places, options, tenant=tenant, timeout_s=timeout_s or LONGEST_WAIT_S
            )
    timeout_s = timeout_s or TIMEOUT_S
    with opened as client, _hint_at_worker(redis_url, queue, timeout_s):
        client.ping()
        shown = options.get("labels") or client.get_label_set(options["label_set"]).labels
        outcomes = send(client, found, timeout_s=timeout_s, tenant=tenant, **options)
        failed = _print(found, outcomes, _table(found, shown, options), as_json=as_json)
    if failed:
        say(f"{failed} of {len(found)} images failed.")
    return 1 if failed else 0


def _check_images(images: Sequence[str], *, is_backfill: bool, as_json: bool) -> None:
    """Refuse arguments that don't go with `--from`, or are missing without it."""
    if is_backfill and images:
        raise WrongInputError(
            f"The images come from --from, so leave out {quote(images[0])}; for a folder or a "
            "glob, give it to --from, the glob in quotation marks."
        )
    if is_backfill and as_json:
        raise WrongInputError("With --from the results go to --to, so leave out --json.")
    if not is_backfill and not images:
        raise WrongInputError(
            "There are no images; give files, folders, globs or URLs, or a table with --from."
        )


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
