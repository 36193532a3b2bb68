"""The gallery's page in a headless Chromium, with a real worker."""

from __future__ import annotations

import re

import pytest
from support.chromium import chromium, findings, install_axe, open_page
from support.ports import free_port
from support.recipe import EXAMPLES, Recipe

from clip_worker import Client
from worker.cli.demo.images import DEMO_IMAGES

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HEARTS, MOON = DEMO_IMAGES[0].path, DEMO_IMAGES[1].path
HOSTILE = "<img src=x onerror=alert(1)>"
SAMPLES = 40
DESKTOP = {"viewport": {"width": 1280, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"}


def serve(recipe, redis_url, port):
    return recipe.serve(
        *("uvicorn", "--app-dir", str(EXAMPLES / "gallery"), "app:app", "--port", str(port)),
        *("--timeout-graceful-shutdown", "1"),
        REDIS_URL=redis_url,
    )


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def axe(browser, tmp_path_factory):
    return install_axe(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module")
def site(browser, shared_worker, tmp_path_factory):
    """One server for all tests that only ask it."""
    recipe = Recipe(shared_worker.redis, tmp_path_factory.mktemp("gallery"))
    yield serve(recipe, shared_worker.redis, 0)
    recipe.close()


@pytest.fixture
def page(browser, site):
    with open_page(browser, site, **DESKTOP) as page:
        yield page


@pytest.fixture
def expect(browser):
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    return expect


def add_samples(page, expect):
    page.get_by_role("button", name="Try sample pictures").click()
    expect(page.get_by_role("status")).to_have_text(f"{SAMPLES} pictures tagged")


def card(page, name):
    return page.locator(".card").filter(has=page.get_by_alt_text(name, exact=True))


def test_pictures_are_tagged_tagged_again_looked_at_and_removed(page, expect):
    # when files are chosen
    page.get_by_label("Choose a set of labels").select_option("Shapes")
    page.locator("#files").set_input_files([HEARTS, MOON])
    # then each has its tags, and each label its count
    expect(card(page, HEARTS.name)).to_have_accessible_name(re.compile("heart 100 %"))
    expect(card(page, MOON.name)).to_have_accessible_name(re.compile("moon 100 %"))
    expect(page.locator(".chip.found")).to_have_text([re.compile("heart1"), re.compile("moon1")])

    # when the labels change
    page.get_by_label("Choose a set of labels").select_option("Colours")
    # then both are tagged again, and the page says how long that took
    expect(card(page, HEARTS.name)).to_have_accessible_name(re.compile("red 1"))
    status = page.get_by_role("status")
    expect(status).to_have_text(re.compile(r"^2 pictures re-tagged in \d+(\.\d)? m?s$"))

    # and a picture is shown large, with all its tags
    card(page, HEARTS.name).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text(HEARTS.name)
    expect(dialog.locator(".tag")).to_have_count(5)
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_role("heading")).to_have_text(MOON.name)
    dialog.get_by_role("button", name="Remove").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".item")).to_have_count(1)


def test_a_stored_label_set_is_in_the_menu_and_the_bars_show_its_labels(
    browser, site, expect, shared_worker
):
    name, labels = "0-shapes", ["a heart", "a moon", "a cross"]
    with Client(shared_worker.redis) as client:
        client.put_label_set(name, labels)
        with open_page(browser, site, **DESKTOP) as page:
            page.locator("#files").set_input_files([HEARTS, MOON])
            expect(page.get_by_role("status")).to_have_text("2 pictures tagged")
            # when
            menu = page.get_by_label("Choose a set of labels")
            stored = menu.locator("optgroup[label='Stored label sets'] option")
            assert name in stored.all_inner_texts()
            menu.select_option(name)
            # then
            expect(card(page, HEARTS.name)).to_have_accessible_name(re.compile("a heart 1"))
            expect(card(page, MOON.name)).to_have_accessible_name(re.compile("a moon 1"))
            bars = card(page, MOON.name).locator(".tag .label")
            assert sorted(bars.all_inner_texts()) == sorted(labels)
            assert page.locator(".chip .name").all_inner_texts() == labels
        client.remove_label_set(name)


def test_what_is_no_picture_says_so_on_its_card(page, expect):
    notes = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    large = {"name": "large.bin", "mimeType": "", "buffer": bytes(10_000_001)}
    page.locator("#files").set_input_files([notes, large])
    page.locator("#files").set_input_files([HEARTS])
    url = page.get_by_label("Address of a picture")
    url.fill("http://127.0.0.1:1/cat.jpg")
    url.press("Enter")
    expect(card(page, "notes.txt")).to_contain_text("This is not an image")
    expect(card(page, "large.bin")).to_contain_text("The file has more than 10 MB.")
    expect(card(page, "http://127.0.0.1:1/cat.jpg")).to_contain_text("not on the public web")
    expect(card(page, HEARTS.name)).to_have_accessible_name(re.compile("%"))


def test_pictures_beyond_the_limit_are_left_out_and_the_page_says_so(page, expect):
    def answer(route):
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"max_pictures": 1})

    page.route("**/options", answer)
    page.reload()
    page.locator("#files").set_input_files([HEARTS, MOON])
    expect(page.get_by_role("alert")).to_have_text(re.compile("1 more was left out.$"))
    expect(page.get_by_role("status")).to_have_text("1 picture tagged")
    page.locator("#files").set_input_files([HEARTS, MOON])
    expect(page.get_by_role("alert")).to_have_text(re.compile("2 more were left out.$"))
    expect(page.locator(".item")).to_have_count(1)


def test_labels_and_names_are_text(page, expect):
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    hostile = {"name": HOSTILE, "mimeType": "image/jpeg", "buffer": HEARTS.read_bytes()}
    page.locator("#files").set_input_files([hostile])
    field = page.get_by_label("Add a label")
    for label in (HOSTILE, "</script><script>alert(1)</script>", "javascript:alert(1)"):
        field.fill(label)
        field.press("Enter")
    expect(page.locator(".chip").filter(has_text=HOSTILE)).to_have_count(1)
    expect(card(page, HOSTILE)).to_have_accessible_name(re.compile("%"))
    card(page, HOSTILE).click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text(HOSTILE)
    assert page.locator("img[onerror]").count() == 0


def test_everything_can_be_done_with_the_keyboard(page, expect):
    def focused(name):
        expect(page.locator(":focus")).to_have_accessible_name(name)

    # the first key leads past the labels, to the pictures
    page.keyboard.press("Tab")
    focused("Skip to the pictures")
    add_samples(page, expect)
    page.locator("body").press("Tab")
    # labels: a chip is removed, the focus goes to the next one; one is typed
    page.get_by_role("button", name="Remove the label red").focus()
    page.keyboard.press("Enter")
    focused("Remove the label blue")
    page.get_by_label("Add a label").focus()
    page.keyboard.type("purple, a heart")
    page.keyboard.press("Enter")
    assert page.locator(".chip .name").all_inner_texts()[-2:] == ["purple", "a heart"]
    page.keyboard.press("Backspace")
    assert page.locator(".chip .name").all_inner_texts()[-1] == "purple"

    # pictures: one is in the tab order, arrows move on, Enter opens, Escape closes
    cards = page.locator(".card")
    assert page.locator(".card[tabindex='0']").count() == 1
    cards.first.focus()
    for key, index in [("ArrowRight", 1), ("ArrowDown", 7), ("Home", 0), ("End", SAMPLES - 1)]:
        page.keyboard.press(key)
        expect(cards.nth(index)).to_be_focused()
    page.keyboard.press("Enter")
    focused("Close")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    expect(cards.nth(SAMPLES - 2)).to_be_focused()
    # and Delete removes, with the focus on the one that takes its place
    page.keyboard.press("Delete")
    expect(cards).to_have_count(SAMPLES - 1)
    expect(cards.nth(SAMPLES - 2)).to_be_focused()


def test_on_a_phone_nothing_is_cut_off_and_the_theme_is_the_systems_or_the_chosen(
    browser, site, expect
):
    with open_page(browser, site, **PHONE) as page:
        add_samples(page, expect)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        right = page.evaluate(
            "Math.max(...[...document.querySelectorAll('body *')]"
            ".map((each) => each.getBoundingClientRect().right))"
        )
        assert right <= 390
        # buttons are large enough for a finger
        sizes = page.evaluate(
            "[...document.querySelectorAll('button, select, .field')]"
            ".map((each) => each.getBoundingClientRect()).filter(({ width }) => width)"
            ".map(({ width, height }) => Math.min(width, height))"
        )
        assert min(sizes) >= 36
        # and the theme is dark until the other one is chosen, for good
        root = page.locator("html")
        expect(root).to_have_attribute("data-theme", "dark")
        page.get_by_role("button", name="Light theme").tap()
        expect(root).to_have_attribute("data-theme", "light")
        page.reload()
        expect(root).to_have_attribute("data-theme", "light")


def test_nothing_moves_where_motion_is_to_be_reduced(browser, site, expect):
    with open_page(browser, site, **DESKTOP, reduced_motion="reduce") as page:
        page.locator("#files").set_input_files([HEARTS])
        expect(card(page, HEARTS.name)).to_have_accessible_name(re.compile("%"))
        bar = "getComputedStyle(document.querySelector('.bar'), '::before').transitionDuration"
        assert page.evaluate(bar) == "0s"


@pytest.mark.parametrize("view", [DESKTOP, PHONE], ids=["light", "dark phone"])
def test_axe_finds_no_barrier(browser, site, expect, axe, view):
    with open_page(browser, site, **view) as page:
        expect(page.locator(".chip").first).to_be_visible()
        assert findings(page, axe) == []
        add_samples(page, expect)
        assert findings(page, axe) == []
        page.get_by_label("Address of a picture").fill("http://127.0.0.1:1/cat.jpg")
        page.get_by_label("Address of a picture").press("Enter")
        expect(page.locator(".card .problem").filter(has_text="not on the public")).to_be_visible()
        assert findings(page, axe) == []
        page.locator(".card").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert findings(page, axe) == []


def test_the_page_goes_on_by_itself_when_its_server_was_restarted(
    browser, recipe, expect, shared_worker
):
    port = free_port()
    site = serve(recipe, shared_worker.redis, port)
    with open_page(browser, site, **DESKTOP) as page:
        page.get_by_label("Choose a set of labels").select_option("Shapes")
        page.locator("#files").set_input_files([HEARTS])
        expect(card(page, HEARTS.name)).to_have_accessible_name(re.compile("heart 1"))
        # when the server is gone
        recipe.started[-1].kill()
        expect(page.get_by_role("alert")).to_have_text(re.compile("server can't be reached"))
        page.locator("#files").set_input_files([MOON])
        # and comes back, knowing nothing
        serve(recipe, shared_worker.redis, port)
        # then both pictures are there
        expect(card(page, MOON.name)).to_have_accessible_name(re.compile("moon 1"))
        expect(page.get_by_role("alert")).to_be_hidden()
        page.get_by_label("Choose a set of labels").select_option("Colours")
        expect(card(page, HEARTS.name)).to_have_accessible_name(re.compile("red 1"))
