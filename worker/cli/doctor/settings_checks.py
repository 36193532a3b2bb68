"""The checks of group `settings`: whether a worker would start with this environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.doctor.check import Check
from worker.cli.doctor.finding import Finding, ok, problem, skipped
from worker.variables import ENV_PREFIX

if TYPE_CHECKING:
    from worker.cli.doctor.subject import Subject


def settings_checks(subject: Subject) -> list[Check]:
    """Checks of the environment variables."""
    return [
        Check("settings", "values", lambda: _check_values(subject)),
        Check("settings", "secrets", lambda: _check_secrets(subject)),
    ]


def _check_values(subject: Subject) -> Finding:
    if subject.missing:
        return skipped(f"{subject.missing}.")
    if isinstance(subject.settings, str):
        lines = " ".join(subject.settings.splitlines())
        return problem(
            f"A worker would not start with these settings. {lines}",
            "Correct or unset these variables; docs/settings.md lists all of them.",
        )
    count = sum(name.startswith(ENV_PREFIX) for name in subject.environment)
    return ok(f"Variables {ENV_PREFIX}* that are set: {count}, all of them valid.")


def _check_secrets(subject: Subject) -> Finding:
    if subject.missing or isinstance(subject.settings, str):
        return skipped("The settings can't be read.")
    webhooks = (
        "There is a secret that signs what is posted to webhooks."
        if subject.settings.webhook_secret
        else f"{ENV_PREFIX}WEBHOOK_SECRET is unset, so requests with a webhook are refused."
    )
    messages = (
        "Only messages that are signed with one of the keys are run."
        if subject.settings.signing_keys
        else f"{ENV_PREFIX}SIGNING_KEYS is unset, so whoever may write to Redis may send tasks."
    )
    return ok(f"{webhooks} {messages}")
