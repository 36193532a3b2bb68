"""Writes the table of values into deploy/helm/clip-worker/README.md.

    .venv/bin/python scripts/build_chart_readme.py

Meanings come from the chart's values.schema.json, defaults from its values.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "deploy" / "helm" / "clip-worker"
README = CHART / "README.md"
START = "| value | default | |\n|---|---|---|\n"
FROM_A_PARENT = "global"


def readme() -> str:
    """The page with a table that is up to date."""
    before, _, _ = README.read_text(encoding="utf-8").partition(START)
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return before + START + "".join(_lines(schema, values))


def _lines(schema: dict[str, Any], values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, about in schema["properties"].items():
        if name == FROM_A_PARENT:
            continue
        if "properties" in about:
            yield from _lines(about, values[name], f"{prefix}{name}.")
        else:
            yield f"| `{prefix}{name}` | {_default(values[name])} | {about['description']} |\n"


def _default(value: object) -> str:
    if isinstance(value, dict) and value:
        return "see values.yaml"
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
    print(f"wrote {README}")
