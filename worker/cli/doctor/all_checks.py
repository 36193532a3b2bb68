"""All checks, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from clip_worker.quoting import quote
from worker.cli.doctor.queue_checks import queue_checks
from worker.cli.doctor.redis_checks import redis_checks
from worker.cli.doctor.rights_checks import rights_checks
from worker.cli.doctor.settings_checks import settings_checks
from worker.cli.doctor.worker_checks import worker_checks
from worker.cli.output.usage_error import WrongInputError

if TYPE_CHECKING:
    from worker.cli.doctor.check import Check
    from worker.cli.doctor.subject import Subject


def all_checks(subject: Subject) -> list[Check]:
    """Every check."""
    parts = (settings_checks, redis_checks, queue_checks, rights_checks, worker_checks)
    return [check for part in parts for check in part(subject)]


def chosen(checks: Sequence[Check], words: Sequence[str]) -> list[Check]:
    """The checks of these groups or names; all of them if none is given.

    Raises:
        WrongInputError: A word is neither.
    """
    known = {check.group for check in checks} | {check.name for check in checks}
    for word in words:
        if word not in known:
            near = get_close_matches(word, sorted(known), n=1)
            groups = ", ".join(dict.fromkeys(check.group for check in checks))
            hint = f"Did you mean {quote(near[0])}?" if near else f"Give one of: {groups}."
            raise WrongInputError(f"Unknown check {quote(word)}. {hint}")
    return [check for check in checks if not words or check.group in words or check.name in words]
