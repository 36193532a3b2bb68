"""The generated parts of the documentation are what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest
from build_reference import KINDS, PART, generated

PAGES = sorted((Path(__file__).parents[2] / "docs").rglob("*.md"))
WITH_PARTS = [page for page in PAGES if PART.search(page.read_text())]


@pytest.mark.parametrize("page", WITH_PARTS, ids=lambda page: page.stem)
def test_the_generated_parts_of_a_page_are_fresh(page: Path) -> None:
    text = page.read_text()
    assert generated(text) == text, "run `make reference`"


def test_each_kind_of_part_has_its_place() -> None:
    found = {part["kind"] for page in PAGES for part in PART.finditer(page.read_text())}
    assert found == set(KINDS)


def test_a_part_that_is_not_fresh_is_written_anew_and_the_rest_stays() -> None:
    page = "before\n\n<!-- generated: exit-statuses -->\nold\n<!-- end of generated -->\n\nafter\n"
    text = generated(page)
    assert text.startswith("before\n\n<!-- generated: exit-statuses -->\n\n| status | |\n")
    assert text.endswith("\n\n<!-- end of generated -->\n\nafter\n")
    assert "old" not in text
    assert generated(text) == text


def test_the_api_has_signatures_docstrings_and_inherited_methods() -> None:
    text = (PAGES[0].parent / "api.md").read_text()
    assert "### Client\n\n```python\nClient(\n    url: str = DEFAULT_REDIS_URL,\n" in text
    assert "#### AsyncClient.upload\n\n```python\nasync def upload(" in text
    assert "QueueFullError\n" not in text
