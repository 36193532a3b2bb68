"""A headless Chromium for the tests of pages, and axe-core to look for barriers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXECUTABLE_VARIABLE = "CLIP_WORKER_TEST_CHROMIUM"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT_MS = 60_000  # of each wait, on a busy machine
UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")
# Chromium tells of requests that failed, which a test may want to happen.
EXPECTED = "Failed to load resource"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, while the context lasts; the test is left out where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    named = os.environ.get(EXECUTABLE_VARIABLE)
    program = named or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no Chromium: neither in {EXECUTABLE_VARIABLE} nor on the PATH")
    with api.sync_playwright() as playwright:
        # Root has no sandbox, as in most containers.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@contextlib.contextmanager
def open_page(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A page of its own profile; an error of its scripts fails the test."""
    with browser.new_context(**options) as context:
        page, errors = context.new_page(), list[str]()
        page.set_default_timeout(LIMIT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda said: errors.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.goto(url)
        yield page
        assert [error for error in errors if EXPECTED not in error] == []


def install_axe(folder: Path) -> str:
    """The script of axe-core, from the registry that npm is configured for."""
    if not shutil.which("npm"):
        pytest.skip("npm, which installs axe-core, is not installed")
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "axe-core@4"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if any(code in done.stderr for code in UNREACHABLE):
        pytest.skip("npm's registry can't be reached")
    assert done.returncode == 0, done.stderr
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def findings(page: Page, axe: str) -> list[str]:
    """What axe-core finds on a page as it is now."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(axe)  # by the debugger, which no content security policy stops
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{one['id']}: {one['help']} {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in found
    ]
