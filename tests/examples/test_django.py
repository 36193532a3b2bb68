"""The Django recipe: its development server, its Celery worker, a real clip-worker."""

from __future__ import annotations

import sys
from http.cookies import SimpleCookie

import pytest
from support.recipe import EXAMPLES, photo_form, poll, run

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PROJECT = EXAMPLES / "django"
PASSWORD = "gallery-password"


class Browser:
    """Keeps cookies, and returns the token of Django's forms with each of them."""

    def __init__(self, http, site) -> None:
        self.site = site
        self._http = http
        self._cookies = {}

    def get(self, path):
        return self._send("GET", path)

    def post(self, path, fields):
        token = {"csrfmiddlewaretoken": self._cookies["csrftoken"]}
        return self._send("POST", path, token | fields)

    def _send(self, method, path, fields=None):
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        answer = self._http.request(method, self.site + path, fields=fields, headers=headers)
        for cookie in answer.headers.getlist("Set-Cookie"):
            self._cookies |= {name: morsel.value for name, morsel in SimpleCookie(cookie).items()}
        return answer


@pytest.fixture
def environment(redis_url, image, tmp_path):
    return {
        "DATA_DIR": str(tmp_path),
        "REDIS_URL": redis_url,
        "PHOTO_LABELS": ",".join(image.labels),
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }


@pytest.fixture
def manage(environment):
    def manage(*command):
        return run(sys.executable, str(PROJECT / "manage.py"), *command, **environment)

    return manage


@pytest.fixture
def browser(recipe, environment, manage, http):
    manage("migrate", "--verbosity", "0")
    manage("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.org")
    manage_py = str(PROJECT / "manage.py")
    return Browser(http, recipe.serve(manage_py, "runserver", "--noreload", "0", **environment))


@pytest.fixture
def backend(recipe, environment):
    """The project's Celery worker."""
    worker = recipe.start(
        *("celery", "--workdir", str(PROJECT), "-A", "gallery", "worker", "-P", "solo"),
        *("--loglevel", "info", "-n", "gallery@%h"),
        **environment,
    )
    worker.wait_for_log(" ready.")
    return worker


def test_an_upload_is_tagged_and_the_admin_action_tags_it_again(
    browser, backend, http, image, manage
):
    manage("makemigrations", "--check")
    # given a page that stores no file that is too large or of another type, and no two of them
    browser.get("/")
    refuse_what_is_not_one_photo(browser, image)
    assert query(manage, "print(Photo.objects.count())") == "0"

    # when a photo comes by the form
    form = {"file": photo_form(image)["photo"]}
    stored = browser.post("/", form)
    # then its row has the label
    assert stored.status == 302, stored.data
    photo = stored.headers["Location"]
    tagged = poll(http, browser.site + photo, lambda answer: answer.json()["state"] != "new")
    assert (tagged.json()["state"], tagged.json()["label"]) == ("tagged", image.answer)

    # when the administrator asks for it again, after somebody changed it
    query(manage, "Photo.objects.update(label='dog')")
    browser.get("/admin/login/")
    assert browser.post("/admin/login/", {"username": "admin", "password": PASSWORD}).status == 302
    action = {"action": "classify_again", "_selected_action": photo.split("/")[-2]}
    assert browser.post("/admin/photos/photo/", action).status == 302
    # then it has its label again
    assert b"Queued 1 photo" in browser.get("/admin/photos/photo/").data
    tagged = poll(http, browser.site + photo, lambda answer: answer.json()["label"] == image.answer)
    assert tagged.json()["state"] == "tagged"

    # what only claims to be a photo has a row that says so
    claimed = browser.post("/", {"file": ("page.jpg", b"<html>", "image/jpeg")})
    page = browser.site + claimed.headers["Location"]
    failed = poll(http, page, lambda answer: answer.json()["state"] != "new")
    assert failed.json()["state"] == "failed"
    assert b"DECODE_UNRECOGNIZED" in browser.get("/admin/photos/photo/").data

    # and while many wait, none is accepted
    query(manage, "Photo.objects.bulk_create(Photo(file='a.jpg') for _ in range(500))")
    assert b"try again later" in browser.post("/", form).data


def refuse_what_is_not_one_photo(browser, image):
    large = browser.post("/", {"file": ("large.jpg", bytes(11_000_000), "image/jpeg")})
    assert large.status == 400
    assert b"is not allowed" in browser.post("/", {"file": ("a.html", b"<html>")}).data
    two = {"file": photo_form(image)["photo"], "other": ("b.jpg", b"b", "image/jpeg")}
    assert browser.post("/", two).status == 400


def query(manage, statement):
    """What a statement prints in Django's shell."""
    code = f"from photos.models import Photo; {statement}"
    return manage("shell", "--verbosity", "0", "-c", code).strip()
