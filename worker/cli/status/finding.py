"""Something that looks wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How urgent a finding is."""

    PROBLEM = "problem"  # tasks are not done, are lost, or get wrong answers
    ADVICE = "advice"  # tasks are done, but later or at a higher cost than need be


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    Attributes:
        code: Of its kind; it stays the same from version to version.
        level: How urgent it is.
        sentence: What is wrong, and what to do.
    """

    code: str
    level: Level
    sentence: str


def problem(code: str, sentence: str) -> Finding:
    """A finding that somebody should act on now."""
    return Finding(code, Level.PROBLEM, sentence)


def advice(code: str, sentence: str) -> Finding:
    """A finding that can wait."""
    return Finding(code, Level.ADVICE, sentence)
