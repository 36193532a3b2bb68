"""Draws docs/images/gallery.webp: the gallery of examples/gallery with its sample pictures.

.venv/bin/python examples/gallery/demo.py
.venv/bin/python scripts/draw_gallery_picture.py    # meanwhile; needs playwright and a Chromium
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import ViewportSize, expect, sync_playwright

TARGET = Path(__file__).parents[1] / "docs" / "images" / "gallery.webp"
SITE = "http://127.0.0.1:8000"
SIZE: ViewportSize = {"width": 1180, "height": 760}
QUALITY = 82
LIMIT_MS = 120_000


def main(site: str) -> None:
    """Have the samples tagged, and tagged again, and take the picture."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        page.goto(site)
        page.get_by_role("button", name="Try sample pictures").click()
        expect(page.locator(".item:not(.waiting)")).to_have_count(40, timeout=LIMIT_MS)
        page.get_by_role("button", name="Remove the label blue").click()
        expect(page.get_by_role("status")).to_contain_text("re-tagged", timeout=LIMIT_MS)
        page.locator("h1").click()  # so that nothing has the focus
        shot = page.screenshot()
        browser.close()
    Image.open(BytesIO(shot)).convert("RGB").save(TARGET, quality=QUALITY, method=6)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else SITE)
