"""The results of a run: a JSON file, one table, the exit status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.isolation import COMPLETE, FAILED, SKIPPED, Outcome

MUST_COMPLETE = "correctness"


@dataclass
class Results:
    """Outcomes by section.

    Attributes:
        about: Command, time, versions.
        path: Of the JSON file, rewritten after each section; None for none.
        sections: What was found.
    """

    about: Mapping[str, Any]
    path: Path | None = None
    sections: dict[str, Outcome] = field(default_factory=dict)

    def add(self, name: str, outcome: Outcome) -> None:
        """Keep a section's outcome, and write the file."""
        self.sections[name] = outcome
        if self.path:
            part = self.path.with_name(self.path.name + ".part")
            part.write_text(json.dumps(self.as_json(), indent=1), encoding="utf-8")
            part.replace(self.path)

    def as_json(self) -> dict[str, Any]:
        """All that was found."""
        return {
            **self.about,
            "passed": self.passed,
            "sections": {name: asdict(outcome) for name, outcome in self.sections.items()},
        }

    @property
    def passed(self) -> bool:
        """Whether every check passed, no section failed and correctness was checked whole."""
        whole = self.sections.get(MUST_COMPLETE)
        return (
            all(check["passed"] for one in self.sections.values() for check in one.checks)
            and all(one.status != FAILED for one in self.sections.values())
            and (whole is None or (whole.status == COMPLETE and not whole.left_out))
        )

    def table(self) -> str:
        """The rows of all sections, and how each section ended if it isn't complete."""
        lines = ["| section | what | found |", "|---|---|---|"]
        for name, outcome in self.sections.items():
            rows = [*outcome.rows, *_remarks(outcome)]
            lines += [f"| {name} | {what} | {found} |" for what, found in rows]
        return "\n".join(lines)


def _remarks(outcome: Outcome) -> list[tuple[str, str]]:
    found = []
    if outcome.checks:
        failed = [check["what"] for check in outcome.checks if not check["passed"]]
        passed = len(outcome.checks) - len(failed)
        failures = f"; FAILED: {', '.join(failed)}" if failed else ""
        found.append(("checks", f"{passed} of {len(outcome.checks)} passed{failures}"))
    if outcome.status != COMPLETE:
        shown = outcome.status if outcome.status == SKIPPED else outcome.status.upper()
        found.append((shown, outcome.reason))
    if outcome.left_out:
        found.append(("left out for lack of time", ", ".join(outcome.left_out)))
    if outcome.warnings:
        found.append(("warnings", f"{len(outcome.warnings)}, the first: {outcome.warnings[0]}"))
    return found
