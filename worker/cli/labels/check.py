"""`clip-worker labels check`: finds labels whose results would be wrong or divided."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clip_engine.labels.check import check_labels
from clip_worker.quoting import quote
from worker.cli.label_file import LabelLine, read_label_file
from worker.cli.labels.counted import counted
from worker.cli.labels.engine import loaded_engine
from worker.cli.labels.ensembles import ensemble_named
from worker.cli.labels.options import (
    ensemble_option,
    file_argument,
    hierarchical_option,
    model_option,
    template_option,
    templates_of,
)
from worker.cli.options import json_lines_option
from worker.cli.output.progress_line import ProgressLine
from worker.cli.output.screen import Screen
from worker.cli.output.table import printable
from worker.cli.output.usage_error import WrongInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_engine.engine import Engine
    from clip_engine.labels.finding import Finding


@click.command("check")
@file_argument
@model_option
@click.option("--no-model", is_flag=True, help="Check only how the labels are written.")
@template_option
@ensemble_option
@hierarchical_option
@json_lines_option
def command(  # noqa: PLR0913  # one argument per option
    file: Path,
    model: str | None,
    *,
    no_model: bool,
    templates: tuple[str, ...],
    ensemble: str | None,
    hierarchical: bool,
    as_json: bool,
) -> int:
    """Check the labels of FILE: blank, repeated, too long, or nearly the same to the model.

    Each finding is a line: the file, the line, the kind, the reason and what to do. The exit status
    is 0 if there are none, 1 if there are findings, 2 for invalid input.
    """
    prompts = templates_of(templates, ensemble, ensemble_named)
    lines = read_label_file(file)
    labels = [line.label for line in lines]
    with _engine(model, no_model=no_model) as engine:
        with ProgressLine(Screen.of(sys.stderr), "reading labels") as progress:
            findings = check_labels(
                labels,
                prompts,
                engine=engine,
                hierarchical=hierarchical,
                progress=progress.update,
            )
        by = f" with the model {engine.identity.name}" if engine else ""
    for finding in findings:
        shown = json.dumps(_json_object(finding, lines)) if as_json else _line(finding, lines, file)
        click.echo(shown)
    if not as_json:
        found = counted(len(findings), "finding") if findings else "no findings"
        click.echo(f"Checked {counted(len(labels), 'label')}{by}: {found}.")
    return 1 if findings else 0


def _engine(
    model: str | None, *, no_model: bool
) -> contextlib.AbstractContextManager[Engine | None]:
    if no_model and model is not None:
        raise WrongInputError("Give --model or --no-model, not both.")
    return contextlib.nullcontext() if no_model else loaded_engine(model)


def _line(finding: Finding, lines: Sequence[LabelLine], file: Path) -> str:
    """The line of a finding, in the form that editors understand."""
    line = lines[finding.index]
    sentence = f"{quote(line.label)} {_reason(finding, lines)}; {finding.suggestion}."
    return printable(f"{file}:{line.line}: {finding.kind}: {sentence}")


def _reason(finding: Finding, lines: Sequence[LabelLine]) -> str:
    if finding.other is None:
        return finding.reason
    other = lines[finding.other]
    reason = f"{finding.reason} {quote(other.label)} (line {other.line})"
    if finding.share is not None:
        reason += f": a picture that fits one perfectly gives the other {finding.share:.0%}"
    return reason


def _json_object(finding: Finding, lines: Sequence[LabelLine]) -> dict[str, object]:
    other = None if finding.other is None else asdict(lines[finding.other])
    return {
        **asdict(lines[finding.index]),
        "kind": finding.kind,
        "reason": _reason(finding, lines),
        "suggestion": finding.suggestion,
        "other": other,
        "share": finding.share,
    }
