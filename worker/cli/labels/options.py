"""Options and arguments that the commands of `labels` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clip_worker.contract import DEFAULT_TEMPLATE, RequestOptions, parse
from worker.cli.options import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

file_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE"
)
hierarchical_option = click.option(
    "--hierarchical",
    is_flag=True,
    help="The labels are paths, such as 'animal > dog'; prompts have the last name.",
)
model_option = click.option(
    "--model", type=text, metavar="NAME", help="Model; by default CLIP_WORKER_MODEL, as a worker."
)
template_option = click.option(
    "--template",
    "--templates",
    "templates",
    type=text,
    multiple=True,
    metavar="TEXT",
    help=f"Prompt for a label; may be given several times. [default: {DEFAULT_TEMPLATE!r}]",
)
ensemble_option = click.option(
    "--ensemble",
    type=text,
    metavar="NAME",
    help="Named set of prompts: photo, imagenet (80) or imagenet-simple (7).",
)


def templates_of(
    templates: Sequence[str], ensemble: str | None, named: Callable[[str], tuple[str, ...]]
) -> tuple[str, ...]:
    """The templates of both options, or the default one.

    Args:
        templates: Given one by one.
        ensemble: Name of an ensemble.
        named: The templates of an ensemble.

    Raises:
        InvalidRequestError: Both are given, or a template is invalid.
    """
    given = {"templates": list(templates) or None, "ensemble": ensemble}
    options = {name: value for name, value in given.items() if value is not None}
    request = parse(RequestOptions, {"labels": ["a label"], **options})
    return named(request.ensemble) if request.ensemble else request.all_templates
