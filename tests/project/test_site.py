"""The documentation's site: it builds without warnings, and needs no network to be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r"""<(?:link|script|img|source)\b[^>]*?(?:href|src)=["']?(https?://[^"'\s>]+)"""
)
# What search engines read, and browsers don't load.
CANONICAL = re.compile(r"""rel=["']?(?:canonical|next|prev)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, (
        f"A page that mkdocs.yml does not list, or a link to nowhere:\n{built.stderr}"
    )
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).with_suffix(".md") for path in site.rglob("*.html")}
    assert pages - {Path("README.md")} <= built
    assert {Path("index.md"), Path("pages.md"), Path("CHANGELOG.md")} <= built


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        found = [tag for tag in LOADED.finditer(text) if not CANONICAL.search(tag.group())]
        assert not found, page
    assert "@import" not in "".join(path.read_text() for path in site.rglob("*.css"))


def test_the_landing_page_says_what_it_is_for_and_leads_on(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert "Send an image and some labels to a queue" in page
    assert 'class="md-button md-button--primary" href="tutorial.html"' in page
    assert "{ ." not in page


def test_a_link_that_leaves_the_docs_leads_to_a_page_of_the_site_or_is_plain_text(
    site: Path,
) -> None:
    assert (
        'href="CONTRIBUTING.html#things-that-are-built"' in (site / "performance.html").read_text()
    )
    assert 'href="docs/' not in (site / "CHANGELOG.html").read_text()
    assert "<td>photos/models.py</td>" in (site / "recipes" / "django.html").read_text()
