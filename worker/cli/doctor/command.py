"""`clip-worker doctor`: what is wrong with this set-up, and how to mend it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict

import click

from worker.cli.doctor.all_checks import all_checks, chosen
from worker.cli.doctor.check import Check
from worker.cli.doctor.finding import Finding
from worker.cli.doctor.subject import Subject
from worker.cli.options import json_lines_option, queue_option, redis_url_option, text
from worker.cli.output.screen import Screen
from worker.cli.output.table import printable

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "skipped": "bright_black"}
INDENT = 2 + 9  # of a finding's sentences: of the status, and its column


@click.command("doctor")
@click.argument("checks", type=text, nargs=-1, metavar="[CHECK...]")
@redis_url_option
@queue_option
@json_lines_option
def command(checks: tuple[str, ...], redis_url: str, queue: str, *, as_json: bool) -> int:
    """Check settings, Redis, the queue, rights, the model, the machine and stored embeddings.

    CHECK is a group (settings, redis, queue, rights, model, device, machine, embeddings) or the
    name of one check; by default all are made. Nothing is changed. The environment is read as
    `clip-worker start` reads it, so run it where the worker is to run. The exit status is 1 if
    there is a problem; warnings don't count.
    """
    screen = Screen.of(sys.stdout)
    counts: Counter[str] = Counter()
    group = ""
    for check in chosen(all_checks(Subject(redis_url, queue)), checks):
        finding = check.run()
        counts[finding.status] += 1
        if as_json:
            click.echo(json.dumps(_fields(check, finding)))
            continue
        if check.group != group:
            click.echo(f"{check.group}:")
        group = check.group
        _print(screen, check, finding)
    if not as_json:
        click.echo(_summary(counts))
    return 1 if counts["problem"] else 0


def _fields(check: Check, finding: Finding) -> dict[str, str]:
    return {"group": check.group, "check": check.name} | asdict(finding)


def _print(screen: Screen, check: Check, finding: Finding) -> None:
    status = click.style(f"{finding.status:<9}", fg=COLOURS[finding.status])
    line = f"  {status}{check.name}: {printable(finding.found)}"
    click.echo(line, screen.file, color=screen.colour)
    if finding.remedy:
        click.echo(f"{'':{INDENT}}{printable(finding.remedy)}", screen.file, color=screen.colour)


def _summary(counts: Counter[str]) -> str:
    """The number of findings of each kind.

    >>> _summary(Counter({"ok": 2, "problem": 1}))
    '3 checks: 2 ok, 1 problem.'
    """
    plural = {"warning": "warnings", "problem": "problems"}
    kinds = (
        f"{count} {plural.get(kind, kind) if count > 1 else kind}"
        for kind, count in ((kind, counts[kind]) for kind in COLOURS)
        if count
    )
    total = counts.total()
    return f"{total} check{'' if total == 1 else 's'}: {', '.join(kinds)}."
