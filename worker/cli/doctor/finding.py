"""What a check has found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

    Attributes:
        status: `problem` if workers can't run, may lose tasks, or can't use a store that is set.
        found: One sentence.
        remedy: What to do, in one sentence; empty if there is nothing to do.
    """

    status: Status
    found: str
    remedy: str = ""


def ok(found: str) -> Finding:
    """All is well."""
    return Finding("ok", found)


def warning(found: str, remedy: str) -> Finding:
    """Workers run, but not as well or as safely as they could."""
    return Finding("warning", found, remedy)


def problem(found: str, remedy: str) -> Finding:
    """Workers can't run, may lose tasks, or can't use a store that is set."""
    return Finding("problem", found, remedy)


def skipped(found: str, remedy: str = "") -> Finding:
    """The check could not be made; `found` is the reason."""
    return Finding("skipped", found, remedy)
