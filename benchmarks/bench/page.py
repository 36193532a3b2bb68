"""docs/performance.md, between its markers: nothing there is written by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.bench import machine, tables

HEADINGS = {
    "end_to_end": "End to end",
    "no_op": "The queue path alone",
    "latency": "Latency",
    "growth": "Growth",
    "start_up": "Start-up",
}
RENDER = {
    "end_to_end": tables.end_to_end,
    "no_op": tables.no_op,
    "latency": tables.latency,
    "growth": tables.growth,
    "start_up": tables.start_up,
}
PICTURES = {
    "end_to_end": ("end-to-end", "Images a second by contender"),
    "no_op": ("no-op", "Tasks a second and processor time a task without a model"),
    "latency": ("latency", "Latency against offered load"),
    "growth": ("growth", "Cost a task against what grows"),
}


def write(page: Path, document: dict[str, Any], folder: Path) -> None:
    """Put each section that the document has between its markers.

    Raises:
        ValueError: The page lacks a section's markers.
    """
    text = page.read_text(encoding="utf-8")
    for name in document["sections"]:
        text = replaced(text, name, section(document, name, folder.name))
    text = replaced(text, "machine", _machine(document))
    page.write_text(text, encoding="utf-8")


def replaced(text: str, name: str, content: str) -> str:
    """The text with another content between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(
            f"docs/performance.md has no {begin} ... {end}; put them where they belong"
        )
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def section(document: dict[str, Any], name: str, folder: str) -> str:
    """How it was taken, the table, the plot."""
    taken = document["sections"][name]
    parts = [_how(taken), RENDER[name](taken["data"])]
    if name == "end_to_end":
        parts.append(tables.end_to_end_notes(taken["data"]))
    if name in PICTURES:
        file, title = PICTURES[name]
        parts.append(f"![{title}]({folder}/{file}.png)")
    return "\n\n".join(parts)


def printed(document: dict[str, Any]) -> str:
    """All sections, for a terminal."""
    return f"{_machine(document)}\n\n" + "\n\n".join(
        f"## {HEADINGS[name]}\n\n{section(document, name, '.')}" for name in document["sections"]
    )


def _how(taken: dict[str, Any]) -> str:
    return (
        f"`{taken['command']}`, {taken['date']}, {taken['seconds']:.0f} s, commit "
        f"{taken['machine']['commit']}. Something else used {taken['busy_before']:.0%} of the "
        f"cores just before, {taken['busy_after']:.0%} just after."
    )


def _machine(document: dict[str, Any]) -> str:
    """What the newest section was measured on; bench.json has it for each."""
    if not document["sections"]:
        return "Nothing is measured yet."
    newest = max(document["sections"].values(), key=lambda taken: str(taken["date"]))
    return machine.sentence(newest["machine"])
