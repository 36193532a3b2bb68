"""Prints what was measured and decided, and writes the settings file."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from clip_worker.version import __version__
from worker.cli.labels.counted import counted
from worker.cli.output.screen import Screen
from worker.cli.output.table import printable
from worker.cli.output.usage_error import say
from worker.cli.tune import sentences
from worker.cli.tune.configuration import Configuration
from worker.cli.tune.decision import Decision
from worker.cli.tune.measurement import Facts
from worker.cli.tune.resources import processor_name
from worker.cli.tune.settings_file import settings_text, write_settings
from worker.cli.tune.table import tables
from worker.cli.tune.tuning import Tuning
from worker.settings import Settings

MOST_LISTED = 10  # images that can't be read
COMMENT_WIDTH = 98


class Report:
    """The output of one run.

    Args:
        base: What the settings as they are are called.
        output: The settings file.
        options: Variables that options of the command line have set; they are written too.
        as_json: Whether to print lines of JSON.
    """

    def __init__(
        self, base: str, output: Path, options: Mapping[str, str], *, as_json: bool
    ) -> None:
        self.base = base
        self._output = output
        self._options = options
        self._as_json = as_json
        self._screen = Screen.of(sys.stdout)

    def print_measured(self, tuning: Tuning) -> None:
        """Print the table, or an object for each configuration; and what was left out."""
        for reason in list(tuning.failed.values())[:MOST_LISTED]:
            say(printable(f"Left out: {reason}"))
        if len(tuning.failed) > MOST_LISTED:
            say(f"Left out: {len(tuning.failed) - MOST_LISTED:,} more images that can't be read.")
        if self._as_json:
            for each in tuning.measured:
                click.echo(json.dumps(sentences.measurement_object(each)))
            return
        if tuning.measured:
            self._print_table(tuning)

    def print_decision(self, tuning: Tuning, decision: Decision) -> None:
        """Print the recommendation, and write the settings file.

        Raises:
            WrongInputError: It can't be written.
        """
        found = sentences.recommendation(decision, self.base)
        variables = decision.best.configuration.variables() if decision.best else {}
        assert decision.first.facts
        comments = [*_origin(decision.first.facts, len(tuning.failed)), *found]
        lines = [line for each in comments for line in textwrap.wrap(each, COMMENT_WIDTH)]
        write_settings(self._output, settings_text({**self._options, **variables}, lines))
        if self._as_json:
            click.echo(json.dumps(sentences.decision_object(decision)))
            return
        if tuning.trouble:
            self._print(tuning.trouble)
        self._print(" ".join(found))
        self._print(f"Wrote {self._output}.")

    def _print_table(self, tuning: Tuning) -> None:
        width = self._screen.width if self._screen.is_terminal else None
        for lines in tables(tuning.measured, self.base, width):
            for line in lines:
                click.echo(line)
            click.echo()
        for note in sentences.notes(tuning.measured):
            self._print(note)
        if tuning.untried:
            names = "; ".join(dict.fromkeys(map(str, tuning.untried)))
            self._print(f"There was no time left for {names}. Give more with --time.")
        click.echo()

    def _print(self, sentence: str) -> None:
        width = self._screen.width if self._screen.is_terminal else COMMENT_WIDTH
        click.echo("\n".join(textwrap.wrap(printable(sentence), width)))


def base_name(settings: Settings) -> str:
    """What the settings as they are are called: are they the defaults?"""
    fields = type(settings).model_fields
    tuned = Configuration.__dataclass_fields__
    changed = any(getattr(settings, name) != fields[name].default for name in tuned)
    return "present settings" if changed else "defaults"


def _origin(facts: Facts, failed: int) -> list[str]:
    """When, where and with what it was measured."""
    now = datetime.now(UTC)
    machine = f"{facts.cores} cores of {processor_name()}"
    gpu = f", {facts.gpu}" if facts.gpu else ""
    left_out = f"; {counted(failed, 'image')} of the sample can't be read" if failed else ""
    return [
        f"Written by clip-worker tune {__version__} on {now:%Y-%m-%d %H:%M} UTC.",
        f"Measured on {machine}{gpu}.",
        f"Model {facts.model}, {facts.digest}{left_out}.",
    ]
