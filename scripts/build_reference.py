"""Write the parts of the documentation that are generated from the code.

A page in docs/ marks such a part with two comments, of which the first says what belongs there:

    <!-- generated: settings model -->
    ...
    <!-- end of generated -->

    .venv/bin/python scripts/build_reference.py

`tests/project/test_reference.py` checks that the pages are what the code says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from reference import api, commands, errors, schemas, settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
PART = re.compile(
    r"(?P<begin><!-- generated: (?P<kind>[\w-]+) ?(?P<argument>[\w.]*) -->\n)"
    r".*?(?P<end>^<!-- end of generated -->$)",
    re.MULTILINE | re.DOTALL,
)
KINDS: dict[str, Callable[..., str]] = {
    "settings": settings.table,
    "start-options": settings.start_options,
    "commands": commands.all_help,
    "errors": errors.table,
    "exit-statuses": errors.exit_statuses,
    "schema": schemas.table,
    "api": api.names,
}


def main() -> int:
    """Write every page whose generated parts have changed."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := generated(text)) != text:
            page.write_text(new, encoding="utf-8")
            print(f"wrote {page.relative_to(DOCS.parent)}")
    return 0


def generated(page: str) -> str:
    """Return a page with its generated parts as the code wants them."""
    return PART.sub(_part, page)


def _part(found: re.Match[str]) -> str:
    argument = found["argument"]
    text = KINDS[found["kind"]](*([argument] if argument else []))
    return f"{found['begin']}\n{text.strip()}\n\n{found['end']}"


if __name__ == "__main__":
    sys.exit(main())
