"""Each snippet of the documentation runs, or its page says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fences import Fence, Session, check, fences, starts_workers, unknown

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = sorted((ROOT / "docs" / "recipes").glob("*.md"))
# Written by the program that ran their commands.
RECORDS = {"operators-hour.md": "benchmarks/operators_hour/page.py"}
WITH_SNIPPETS = [
    pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * starts_workers(page))
    for page in PAGES
    if page.name not in RECORDS and any(fence.is_run for fence in fences(page.read_text()))
]


@pytest.mark.integration
@pytest.mark.parametrize("page", WITH_SNIPPETS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # snippets close no client
def test_the_snippets_of_a_page_run_and_print_what_it_says(page: Path, session: Session) -> None:
    session.run(fences(page.read_text()))


@pytest.mark.parametrize("page", [*PAGES, *RECIPES], ids=lambda page: page.stem)
def test_a_snippet_is_run_or_says_why_not(page: Path) -> None:
    if page.name in RECORDS:
        assert (ROOT / RECORDS[page.name]).is_file()
    else:
        assert not [fault for each in fences(page.read_text()) if (fault := unknown(each))]


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_what_a_recipe_starts_is_run_by_its_own_test(page: Path) -> None:
    # their code is the examples', see tests/project/test_recipes.py
    for fence in fences(page.read_text()):
        if fence.language in ("bash", "console"):
            test = fence.not_run.partition(" ")[0]
            assert (ROOT / test).is_file(), f"{page}: <!-- not run: tests/… starts it -->"


def test_a_snippet_is_found_with_its_mark() -> None:
    page = (
        "<!-- not run: needs a GPU -->\n```console\n$ a\nb\n```\n\n1. x\n\n    ```python\n    y\n"
        "    ```\n<!-- runs until: ready -->\n\n```bash\nc\n```\n"
        "<!-- generated: x -->\n```python\nz\n```\n<!-- end of generated -->\n"
    )
    assert fences(page) == [
        Fence("console", "$ a\nb\n", not_run="needs a GPU"),
        Fence("python", "y\n"),
        Fence("bash", "c\n", until="ready"),
    ]
    assert [each.is_run for each in fences(page)] == [False, True, True]


def test_a_hidden_command_and_an_unknown_language_are_found() -> None:
    assert unknown(Fence("", "clip-worker status\n"))
    assert unknown(Fence("rust", "fn main() {}\n"))
    assert unknown(Fence("", "docker compose up\n")) is None
    assert unknown(Fence("", "a ──▶ b\n")) is None


def test_what_is_printed_is_compared_with_the_page() -> None:
    check("a\n...\nd\n", "a\nb\nc\nd\n")
    check("id …\n", "id 7\n")
    with pytest.raises(AssertionError, match="is not"):
        check("a\n", "b\n")
    with pytest.raises(AssertionError, match="is not"):
        check("a\n", "a\nb\n")
