"""The pages of the recipes show the code of their examples, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "recipes").glob("*.md"))
CODE = re.compile(r"^```(?:python|js|sh|json|html)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINKED = re.compile(r"\]\((\.\./\.\./examples/[^)\s]+\.\w+)\)")


def foreign_code(page: str, sources: list[str]) -> list[str]:
    """Blocks of code on a page that are no part of one of the files that it links to."""
    return [block for block in CODE.findall(page) if not any(block in text for text in sources)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_on_a_page_is_the_code_of_its_example(page: Path) -> None:
    text = page.read_text()
    sources = [(page.parent / link).read_text() for link in LINKED.findall(text)]
    assert CODE.findall(text)
    assert foreign_code(text, sources) == []


def test_code_that_differs_from_the_example_is_found() -> None:
    page = "```python\nx = 1\ny = 2\n```\n\n```console\n$ x\n```\n"
    assert foreign_code(page, ["a = 0\nx = 1\ny = 2\n"]) == []
    assert foreign_code(page, ["x = 1\n", "y = 2\n"]) == ["x = 1\ny = 2\n"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_says_how_to_size_limits_for_public_uploads(page: Path) -> None:
    _, limits = page.read_text().split("\n## Limits for public uploads\n")
    assert re.search(r"\(\.\./recipes\.md#how-to-size-them\)", limits)
    index = (DOCS / "recipes.md").read_text()
    assert f"(recipes/{page.name})" in index
