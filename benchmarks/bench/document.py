"""The JSON file that all tables and plots are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = "bench.json"


def load(folder: Path) -> dict[str, Any]:
    """What an earlier run left, or an empty document."""
    path = folder / FILE
    if not path.exists():
        return {"sections": {}}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def save(folder: Path, document: dict[str, Any]) -> None:
    """Write the document; an earlier one is replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / (FILE + ".part")
    text = json.dumps(document, indent=1, ensure_ascii=False)
    part.write_text(_on_one_line(text) + "\n", encoding="utf-8")
    part.replace(folder / FILE)


def _on_one_line(text: str) -> str:
    """Lists of numbers on one line each: there are hundreds of samples."""
    lines: list[str] = []
    for line in text.splitlines():
        inside = bool(lines) and lines[-1].count("[") > lines[-1].count("]")
        if inside and not line.strip().startswith(("{", "}", '"', "[")):
            joint = "" if lines[-1].endswith("[") or line.strip().startswith("]") else " "
            lines[-1] += joint + line.strip()
        else:
            lines.append(line)
    return "\n".join(lines)
