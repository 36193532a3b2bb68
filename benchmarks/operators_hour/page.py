"""Writes docs/operators-hour.md from what was seen."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.operators_hour.look import Look
from worker.cli.status.words import counted

PAGE = Path(__file__).parents[2] / "docs" / "operators-hour.md"


@dataclass(frozen=True)
class Account:
    """What became of the tasks.

    Attributes:
        seconds: How long it all took.
        outcomes: Number of accepted tasks by outcome.
        refused: How often sending failed, by the error's sentence.
    """

    seconds: float
    outcomes: Mapping[str, int]
    refused: Counter[str]

    @property
    def lost(self) -> int:
        """Accepted tasks that have no result, or a failure."""
        return sum(self.outcomes.values()) - self.outcomes.get("succeeded", 0)


def page(looks: Sequence[Look], account: Account) -> str:
    """The page."""
    return "\n".join(_lines(looks, account)) + "\n"


def _lines(looks: Sequence[Look], account: Account) -> Iterator[str]:
    yield "# An operator's hour"
    yield ""
    yield from _wrapped(
        "What an operator sees while workers are added, change their model, are killed, while "
        "Redis is full, stopped, and gets another password. All of it happened, with real "
        f"processes and the demo model, in {account.seconds / 60:.0f} minutes on {os.cpu_count()} "
        "cores beside other programs, so the rates say nothing. It is run again, and this page "
        "written, by:"
    )
    yield ""
    yield from _fenced(
        ".venv/bin/python -m benchmarks.operators_hour --page docs/operators-hour.md"
    )
    yield ""
    yield from _account(account)
    for number, look in enumerate(looks, start=1):
        yield ""
        yield f"## {number}. {look.title}"
        yield ""
        yield from _wrapped(look.story)
        yield f"This was {look.at_s / 60:.1f} minutes after the start."
        yield ""
        yield from _fenced(look.status)
        yield ""
        yield from _fenced(look.health)
        if look.metrics:
            yield ""
            yield "Of the same worker's `/metrics`:"
            yield ""
            yield from _fenced("\n".join(look.metrics))
        if look.logs:
            yield ""
            yield "New in the workers' logs:"
            yield ""
            yield from _fenced("\n".join(look.logs))


def _account(account: Account) -> Iterator[str]:
    total, refused = sum(account.outcomes.values()), sum(account.refused.values())
    parts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(account.outcomes.items()))
    yield from _wrapped(
        f"In the end, of {total:,} tasks that Redis had accepted: {parts}. Sending failed "
        f"{refused:,} times, each time with an error for the producer:"
    )
    yield ""
    for sentence, count in account.refused.most_common():
        yield from _wrapped(f"- {counted(count, 'time')}: {sentence}", indent="  ")


def _fenced(text: str) -> Iterator[str]:
    yield "```"
    yield from text.rstrip().splitlines()
    yield "```"


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    yield from textwrap.wrap(
        text, 99, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
