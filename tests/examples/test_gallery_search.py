"""The gallery's search, with a real worker that keeps embeddings, and in a headless Chromium."""

from __future__ import annotations

import re

import pytest
from support.chromium import chromium, open_page
from support.gallery_news import GalleryClient
from support.recipe import EXAMPLES, Recipe
from support.redis_server import new_server
from support.waiting import wait_until
from support.worker_process import WorkerProcess

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SAMPLES = EXAMPLES / "gallery" / "static" / "samples"
STARS = SAMPLES / "four-small-yellow-solid-stars-on-grass.webp"
TEXT = "a pink moon on sand"
MOON = SAMPLES / "large-pink-solid-moon-on-the-right-on-sand.webp"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A gallery whose worker keeps embeddings."""
    folder = tmp_path_factory.mktemp("gallery")
    with new_server() as server, WorkerProcess(server.url, folder, embedding_store=server.url):
        recipe = Recipe(server.url, folder)
        yield recipe.serve(
            *("uvicorn", "--app-dir", str(EXAMPLES / "gallery"), "app:app", "--port", "0"),
            *("--timeout-graceful-shutdown", "1"),
            REDIS_URL=server.url,
        )
        recipe.close()


def search(gallery, count, **query):
    """The hits, once there are so many: embeddings are stored after their pictures are tagged."""
    answers = []

    def are_there():
        answers.append(gallery.request("POST", f"{gallery.path}/search", json=query))
        assert answers[-1].status == 200, answers[-1].data
        return len(answers[-1].json()["hits"]) == count

    wait_until(are_there, lambda: answers[-1].data)
    return [(hit["picture"], hit["cosine"]) for hit in answers[-1].json()["hits"]]


def test_pictures_of_this_gallery_are_found_by_text_and_by_picture(http, site):
    with GalleryClient(http, site) as others, GalleryClient(http, site) as gallery:
        elsewhere, _ = others.put(MOON.read_bytes())
        stars, _ = gallery.put(STARS.read_bytes())
        others.wait_for_answers(elsewhere)
        gallery.wait_for_answers(stars)
        # the page is told once that pictures can be searched
        gallery.wait(lambda news: news["search"])
        # then another gallery's picture is not found, although it is in the same store
        assert [each for each, _ in search(gallery, 1, text=TEXT)] == [stars]
        moon, _ = gallery.put(MOON.read_bytes())
        gallery.wait_for_answers(moon)
        by_text = search(gallery, 2, text=TEXT)
        assert [each for each, _ in by_text] == [moon, stars]
        by_picture = search(gallery, 2, picture=moon)
        assert [each for each, _ in by_picture] == [moon, stars]
        assert by_picture[0][1] == pytest.approx(1, abs=0.01)
        # and a query that says nothing is refused in a sentence
        for query in ({}, {"picture": elsewhere}, {"text": " "}, {"text": "a", "picture": moon}):
            refused = gallery.request("POST", f"{gallery.path}/search", json=query)
            assert (refused.status, refused.json()["sentence"][-1]) == (422, ".")


def test_the_page_shows_what_was_found_the_nearest_first_and_all_again(site):
    with chromium() as browser, open_page(browser, site) as page:
        from playwright.sync_api import expect

        expect.set_options(timeout=60_000)
        page.locator("#files").set_input_files([STARS, MOON])
        field = page.get_by_role("searchbox")
        expect(field).to_be_visible()
        found = page.get_by_role("status")

        def search_until_stored():
            field.fill(TEXT)
            field.press("Enter")
            expect(found).to_have_text(re.compile(rf"nearest to “{TEXT}”, found in "))
            return found.inner_text().startswith("2 ")

        wait_until(search_until_stored)
        assert page.locator(".card .name-only").all_text_contents() == [MOON.name, STARS.name]
        page.get_by_role("button", name="Show all").click()
        expect(field).to_have_value("")
        assert page.locator(".card .name-only").all_text_contents() == [STARS.name, MOON.name]

        page.locator(".card").first.click()
        page.get_by_role("button", name="Find similar").click()
        expect(found).to_have_text(re.compile(rf"^2 nearest to {re.escape(STARS.name)}"))
        assert page.locator(".card .name-only").all_text_contents() == [STARS.name, MOON.name]
