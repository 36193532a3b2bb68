"""Files, modules, settings and links that the pages and docstrings name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.settings import Settings
from worker.variables import COMMAND_VARIABLES, ENV_PREFIX, START_OPTIONS, TEST_PREFIX

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = sorted((ROOT / "docs" / "recipes").glob("*.md"))  # test_recipes.py says what lists them
FOLDERS = "worker|clip_engine|tests|benchmarks|scripts|examples|docs|deploy"
PATH = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]+\.\w+")
MODULE = re.compile(r"(?<![\w./-])(?:worker|clip_engine|benchmarks)(?:\.\w+)+")
QUOTED = re.compile(r"`((?:worker|clip_engine|benchmarks)\.[\w.]+)`")
VARIABLE = re.compile(rf"{ENV_PREFIX}[A-Z0-9_]+")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMANDS = (*START_OPTIONS, *COMMAND_VARIABLES)
SETTINGS = {ENV_PREFIX + name.upper() for name in (*Settings.model_fields, *COMMANDS)}
MOST_README_WORDS = 500


def missing_files(text: str) -> set[str]:
    return {path for path in PATH.findall(text) if not (ROOT / path).exists()}


def missing_modules(text: str) -> set[str]:
    """Dotted names that lead to no module, and to no name that is written in one."""
    return {name for name in MODULE.findall(text) if not _is_there(name.split("."))}


def _is_there(parts: list[str]) -> bool:
    place = ROOT / parts[0]
    for i, part in enumerate(parts[1:], 1):
        if (place / part).is_dir():
            place /= part
            continue
        module = place / f"{part}.py"
        names = parts[i + 1 :] if module.exists() else parts[i:]
        source = module if module.exists() else place / "__init__.py"
        return not names or bool(re.search(rf"\b{names[0]}\b", source.read_text()))
    return True


def broken_links(page: Path) -> set[str]:
    return {
        link
        for link in LINK.findall(FENCE.sub("", page.read_text()))
        if "://" not in link and not _leads_somewhere(page, link)
    }


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *RECIPES], ids=lambda page: page.name)
def test_files_modules_settings_and_links_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    named = {each for each in VARIABLE.findall(text) if not each.startswith(TEST_PREFIX)}
    assert not missing_files(text)
    assert not missing_modules(text)
    assert not {each for each in named - SETTINGS if not each.endswith("_")}
    assert not broken_links(page)


@pytest.mark.parametrize("package", ["worker", "clip_engine", "benchmarks", "scripts"])
def test_files_and_modules_that_comments_name_are_there(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        source = path.read_text()
        quoted = " ".join(QUOTED.findall(source))
        assert not missing_files(source) | missing_modules(quoted), path


def test_a_wrong_name_is_found() -> None:
    assert missing_files("see worker/pipeline/none.py and clip_worker/errors.py") == {
        "worker/pipeline/none.py"
    }
    assert missing_modules(
        "`worker.piepline.batcher`, `worker.pipeline.batcher.Bacher`, `worker.pipeline.batcher`"
    ) == {"worker.piepline.batcher", "worker.pipeline.batcher.Bacher"}


def test_every_setting_and_every_page_is_listed() -> None:
    listed = set(VARIABLE.findall((ROOT / "docs" / "settings.md").read_text()))
    assert listed - {ENV_PREFIX} == SETTINGS
    index = (ROOT / "docs" / "README.md").read_text()
    assert all(f"({page.name})" in index for page in PAGES[2:] if page.name != "README.md")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MOST_README_WORDS
