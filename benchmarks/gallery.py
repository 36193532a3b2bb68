"""A gallery of examples/gallery with as many pictures as one may have: tagged, and tagged again.

    .venv/bin/python -W ignore -m benchmarks.gallery [--pictures 1000] [--no-store] [--no-page]

A Redis, a worker with the demo model and the gallery's server run on this machine. The pictures are
different JPEGs of 128x96 pixels. They are uploaded four at a time, as the page does; then all are
tagged again with other labels, three times. First a program does that, which listens to the
gallery's events, then the page does in a headless Chromium, and says itself how long it took. The
memory is the server's resident set. Bias: everything, the browser included, shares the cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import urllib3

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.chromium import chromium, open_page
from support.gallery_news import GalleryClient
from support.image_files import encoded
from support.image_zoo import photo
from support.recipe import EXAMPLES, Recipe
from support.redis_server import new_server
from support.worker_process import WorkerProcess

from benchmarks.bench import machine

AT_A_TIME = 4  # uploads, as in static/js/uploads.js
LABELS = (
    ("red", "green", "blue", "yellow"),
    ("circle", "square", "star", "heart"),
    ("grass", "sand", "night sky", "white background"),
)
SETS = ("Shapes", "Colours", "Places")
LIMIT_MS = 600_000
MIB = 2**20
MOST = 1_000  # pictures of a gallery


def main() -> None:
    """Print what each step took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=MOST)
    parser.add_argument("--no-store", action="store_true", help="the worker keeps no embeddings")
    parser.add_argument("--no-page", action="store_true", help="without a browser")
    asked = parser.parse_args()
    print(machine.sentence(machine.describe(("torch", "fastapi", "uvicorn"))))
    print(f"{machine.busy():.0%} of the cores were busy before.")
    with tempfile.TemporaryDirectory(prefix="gallery-") as name, new_server() as redis:
        folder = Path(name)
        files = draw(folder, asked.pictures)
        store: dict[str, Any] = {} if asked.no_store else {"embedding_store": redis.url}
        recipe = Recipe(redis.url, folder)
        with WorkerProcess(redis.url, folder, **store) as worker:
            worker.wait_for_log(" ready.")
            site = recipe.serve(
                *("uvicorn", "--app-dir", str(EXAMPLES / "gallery"), "app:app", "--port", "0"),
                *("--timeout-graceful-shutdown", "1"),
                REDIS_URL=redis.url,
            )
            server = psutil.Process(recipe.started[-1].pid)
            try:
                print(f"server: {server.memory_info().rss / MIB:.0f} MiB")
                by_events(site, files, server)
                if not asked.no_page:
                    by_page(site, files, server)
            finally:
                recipe.close()


def draw(folder: Path, count: int) -> list[Path]:
    """So many different JPEG files."""
    files = [folder / f"{number}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        file.write_bytes(encoded(photo((128, 96), number)))
    return files


def by_events(site: str, files: Sequence[Path], server: psutil.Process) -> None:
    """What a program sees that adds the pictures and listens."""
    with (
        urllib3.PoolManager(timeout=600.0, maxsize=2 * AT_A_TIME) as http,
        GalleryClient(http, site) as gallery,
    ):
        began = time.perf_counter()
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            answers = list(pool.map(gallery.put, (file.read_bytes() for file in files)))
            uploaded_s = time.perf_counter() - began
        assert {status for _, status in answers} == {202}
        ids = [picture_id for picture_id, _ in answers]
        gallery.wait_for_answers(*ids)
        tagged_s = time.perf_counter() - began
        print(f"{len(ids)} pictures: uploaded {uploaded_s:.1f} s, tagged {tagged_s:.1f} s")
        for labels in LABELS:
            before = gallery.news["revision"]
            began = time.perf_counter()
            gallery.relabel(*labels)
            gallery.wait(lambda news, before=before: news["revision"] > before)  # type: ignore[misc]
            gallery.wait_for_answers(*ids)
            print(f"tagged again: {time.perf_counter() - began:.2f} s")
        print(f"server: {server.memory_info().rss / MIB:.0f} MiB")
        gallery.request("DELETE", gallery.path)


def by_page(site: str, files: Sequence[Path], server: psutil.Process) -> None:
    """What the page shows to whoever adds the pictures."""
    from playwright.sync_api import expect

    expect.set_options(timeout=LIMIT_MS)
    tagged = f"{len(files):,} pictures tagged"
    with chromium() as browser, open_page(browser, site) as page:
        status = page.get_by_role("status")
        began = time.perf_counter()
        page.locator("#files").set_input_files(files, timeout=LIMIT_MS)
        expect(status).to_have_text(tagged)
        print(f"page: {tagged} after {time.perf_counter() - began:.1f} s")
        for name in SETS:
            page.get_by_label("Choose a set of labels").select_option(name)
            expect(status).to_contain_text("re-tagged in")
            print(f"page: {status.inner_text()}")
        print(f"server: {server.memory_info().rss / MIB:.0f} MiB")
        if len(files) == MOST:
            page.locator("#files").set_input_files(files[:2], timeout=LIMIT_MS)
            print(f"page, two more: {page.get_by_role('alert').inner_text()}")


if __name__ == "__main__":
    main()
