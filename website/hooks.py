"""What the site shows differently from GitHub: mkdocs calls these functions.

The landing page is `website/home.md`, and `docs/README.md` is the page `pages.html`. Pages of the
project's top folder belong to the site. Other files that pages link to, such as examples, do not:
there the link's text stays.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TOP_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the landing page and the top folder's pages; give README.md an address of its own."""
    if index := files.get_file_from_path("README.md"):
        files.remove(index)
    pages = {"README.md": DOCS / "README.md", "index.md": ROOT / "website" / "home.md"}
    pages |= {name: ROOT / name for name in TOP_PAGES if (ROOT / name).exists()}
    for name, path in pages.items():
        file = File.generated(config, name, abs_src_path=str(path))
        if name == "README.md":
            file.dest_uri = "pages.html"
        files.append(file)
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Redirect links that leave `docs/` to the site's pages, or take them off."""
    is_home = page.file.src_uri == "index.md"  # its links are those of a page in docs/
    source = DOCS / "index.md" if is_home else Path(page.file.abs_src_path or "")
    return LINK.sub(lambda link: redirected(link, source, page.file.src_uri), markdown)


def redirected(link: re.Match[str], source: Path, page: str) -> str:
    """Return a link as the site needs it.

    Args:
        link: With its text, target and anchor.
        source: The file that has it.
        page: The site's path of that file, such as `recipes/json.md`.
    """
    text, target, anchor = link.groups(default="")
    path = Path(os.path.normpath(source.parent / target))
    if "://" in target or path.is_relative_to(DOCS) is source.is_relative_to(DOCS) is True:
        return link.group()
    if path.is_relative_to(DOCS):
        place = path.relative_to(DOCS).as_posix()
    elif path.parent == ROOT and path.name in TOP_PAGES:
        place = path.name
    else:
        return text
    return f"[{text}]({os.path.relpath(place, Path(page).parent)}{anchor})"
