"""`clip-worker classify`: sends images and prints the results."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from worker.cli.classify.image_arguments import Picture, find_pictures
from worker.cli.classify.progress import AnswerProgress
from worker.cli.classify.sender import ask, in_order
from worker.cli.output.table import AnswerTable
from worker.cli.output.usage_error import WrongInputError, say
from worker.cli.text_option import text
from worker.client import Client
from worker.contract import DEFAULT_K, DEFAULT_TEMPLATE, ClassifyManyRequest, Outcome, parse
from worker.errors import ResultTimeoutError
from worker.quoting import quote, without_password
from worker.settings import DEFAULT_QUEUE, DEFAULT_REDIS_URL, ENV_PREFIX

Answers = Iterable[tuple[int, Outcome]]


@click.command("classify")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--labels", type=text, multiple=True, metavar="A,B,C", help="Labels to choose from.")
@click.option(
    "--labels-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="More labels, one a line; these may hold commas.",
)
@click.option("-k", type=int, default=DEFAULT_K, show_default=True, help="Labels a picture.")
@click.option(
    "--template",
    "templates",
    type=text,
    multiple=True,
    metavar="TEXT",
    help=f"Prompt around a label; may be given several times. [default: {DEFAULT_TEMPLATE!r}]",
)
@click.option(
    "--ensemble",
    type=text,
    metavar="NAME",
    help="Several prompts by name: photo, imagenet (80) or imagenet-simple (7).",
)
@click.option("--threshold", type=float, help="Leave out labels less probable than this, 0 to 1.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, as the answers come.")
@click.option(
    "--redis-url",
    type=text,
    metavar="URL",
    default=DEFAULT_REDIS_URL,
    envvar=f"{ENV_PREFIX}REDIS_URL",
    show_default=True,
    help="The workers' Redis.",
)
@click.option(
    "--queue",
    type=text,
    default=DEFAULT_QUEUE,
    envvar=f"{ENV_PREFIX}QUEUE",
    show_default=True,
    help="The workers' queue.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    metavar="SECONDS",
    show_default=True,
    help="Longest wait for the next answer.",
)
def command(  # noqa: PLR0913  # an argument an option
    images: tuple[str, ...],
    labels: tuple[str, ...],
    labels_file: Path | None,
    k: int,
    *,
    templates: tuple[str, ...],
    ensemble: str | None,
    threshold: float | None,
    as_json: bool,
    redis_url: str,
    queue: str,
    timeout_s: float,
) -> int:
    """Ask the workers which labels fit each IMAGE.

    An IMAGE is a file, a folder (searched through and through), a quoted glob, or a URL: http,
    https, s3, gs, az, data or file. Files are uploaded to Redis, so the workers need not see them;
    what a URL names is fetched by the workers.

    The table has the pictures in the order given; --json prints each as soon as it is answered.
    A picture that fails has a line that says why. The exit status is 1 if any failed, 2 if the
    input was wrong.
    """
    prompts = {"templates": list(templates) or None, "ensemble": ensemble}
    question = _question(labels=_labels(labels, labels_file), k=k, threshold=threshold, **prompts)
    pictures = find_pictures(images)
    with Client(redis_url, queue=queue) as client, _hint_at_worker(redis_url, queue, timeout_s):
        client.ping()
        answers = ask(client, pictures, timeout_s=timeout_s, **question)
        failed = _print(pictures, answers, question["labels"], as_json=as_json)
    if failed:
        say(f"{failed} of {len(pictures)} pictures failed.")
    return 1 if failed else 0


def _labels(listed: Sequence[str], file: Path | None) -> list[str]:
    """Labels of both options.

    >>> _labels(["cat, dog", "car"], None)
    ['cat', 'dog', 'car']
    """
    labels = [label.strip() for part in listed if part for label in part.split(",")]
    if file is not None:
        labels += _lines(file)
    if not labels:
        raise WrongInputError("There are no labels; give --labels cat,dog,... or --labels-file.")
    return labels


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongInputError(
            f"The labels file {quote(str(file))} can't be read as UTF-8 text: {error}."
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _question(**given: Any) -> dict[str, Any]:
    """What is asked of every picture, checked before any of them is sent.

    Raises:
        InvalidRequestError: All that is wrong with it.
    """
    question = {name: value for name, value in given.items() if value is not None}
    parse(ClassifyManyRequest, {"images": ["data:,"], **question})
    return question


@contextlib.contextmanager
def _hint_at_worker(url: str, queue: str, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except ResultTimeoutError as error:
        raise ResultTimeoutError(
            f"No answer came for {timeout_s:g} s: no worker seems to take tasks from queue "
            f"{queue!r} at {without_password(url)}; start one with `clip-worker start`, or wait "
            "longer with --timeout."
        ) from error


def _print(
    pictures: Sequence[Picture], answers: Answers, labels: Sequence[str], *, as_json: bool
) -> int:
    """Print all answers; gives how many failed."""
    console = Console(highlight=False, markup=False, emoji=False)
    with AnswerProgress(len(pictures), console) as progress:
        counted = progress.counted(answers)
        if as_json:
            return _print_json(console, pictures, counted)
        return _print_table(console, pictures, counted, labels)


def _print_json(console: Console, pictures: Sequence[Picture], answers: Answers) -> int:
    failed = 0
    for position, outcome in answers:
        line = json.dumps(_json_object(pictures[position].name, outcome))
        console.print(Text(line), soft_wrap=True)
        failed += outcome.status == "error"
    return failed


def _json_object(name: str, outcome: Outcome) -> dict[str, Any]:
    if outcome.result is not None:
        result = outcome.result.model_dump(mode="json", include={"predictions", "model"})
        return {"image": name, **result}
    assert outcome.error is not None
    return {"image": name, "error": outcome.error.model_dump(mode="json")}


def _print_table(
    console: Console, pictures: Sequence[Picture], answers: Answers, labels: Sequence[str]
) -> int:
    table = AnswerTable(console, [picture.name for picture in pictures], labels)
    table.print_header()
    failed = 0
    for position, outcome in in_order(answers):
        table.print_answer(pictures[position].name, outcome)
        failed += outcome.status == "error"
    return failed
