"""The gallery's server: uvicorn, a real worker, uploads and server-sent events."""

from __future__ import annotations

import re
import sys
from uuid import uuid4

import pytest
import redis
from support.gallery_news import GalleryClient, best
from support.recipe import EXAMPLES, Recipe, run
from support.redis_server import new_server
from support.worker_process import WorkerProcess

pytestmark = [pytest.mark.integration, pytest.mark.slow]

UPLOADS = "clip-worker:upload:*"
STATIC = EXAMPLES / "gallery" / "static"
STAR = (STATIC / "samples" / "four-small-yellow-solid-stars-on-grass.webp").read_bytes()
MOON = (STATIC / "samples" / "large-pink-solid-moon-on-the-right-on-sand.webp").read_bytes()

SMALL = """
import sys
sys.path.insert(0, {folder!r})
import limits
limits.MAX_PICTURES = 1
import uvicorn
uvicorn.run("app:app", port=0, timeout_graceful_shutdown=1)
"""


def serve(recipe, redis_url):
    return recipe.serve(
        *("uvicorn", "--app-dir", str(EXAMPLES / "gallery"), "app:app", "--port", "0"),
        *("--timeout-graceful-shutdown", "1"),
        REDIS_URL=redis_url,
    )


@pytest.fixture(scope="module")
def site(shared_worker, tmp_path_factory):
    """One server for all tests that only ask it."""
    recipe = Recipe(shared_worker.redis, tmp_path_factory.mktemp("gallery"))
    yield serve(recipe, shared_worker.redis)
    recipe.close()


def count_uploads(broker):
    return sum(not key.endswith(b":users") for key in broker.scan_iter(UPLOADS))


@pytest.fixture
def gallery(http, site):
    with GalleryClient(http, site) as gallery:
        yield gallery


@pytest.fixture
def put_labels(shared_worker, tmp_path):
    """Stores label sets with the command; they are removed afterwards."""
    names = set()

    def labels(*arguments):
        url = shared_worker.redis
        run(sys.executable, "-m", "worker.cli", "labels", *arguments, CLIP_WORKER_REDIS_URL=url)

    def put(name, *each):
        file = tmp_path / f"{name}.txt"
        file.write_text("\n".join(each))
        labels("put", name, str(file))
        names.add(name)

    yield put
    for name in names:
        labels("rm", name, "--yes")


def test_pictures_are_tagged_as_they_come_and_again_with_other_labels(gallery):
    # when pictures are added
    gallery.relabel("heart", "moon", "star")
    star, status = gallery.put(STAR)
    moon, _ = gallery.put(MOON)
    # then their tags come, with probabilities that fall
    assert status == 202
    answers = gallery.wait_for_answers(star, moon)
    assert (best(answers[star]), best(answers[moon])) == ("star", "moon"), answers
    parts = [part for _, part in answers[star]["tags"]]
    assert parts == sorted(parts, reverse=True)

    # and when the labels change, all pictures are tagged again, without another upload
    assert gallery.relabel("grass", "sand").status == 200
    gallery.wait(lambda news: news["revision"] == 3)
    answers = gallery.wait_for_answers(star, moon)
    assert (best(answers[star]), best(answers[moon])) == ("grass", "sand")

    # and a single label is compared with whatever else there may be
    gallery.relabel("moon")
    gallery.wait(lambda news: news["revision"] == 4)
    answers = gallery.wait_for_answers(star, moon)
    assert answers[star]["tags"][0][1] < 0.5 < answers[moon]["tags"][0][1]


def test_stored_label_sets_are_offered_and_pictures_are_tagged_with_their_labels(
    gallery, put_labels
):
    # given a set with two versions, and one that has more labels than are shown
    put_labels("0-places", "a", "b")
    put_labels("0-places", "grass", "sand")
    put_labels("0-many", *(f"thing {number}" for number in range(101)))
    # then the newest version is offered
    offered = gallery.request("GET", "/options").json()["label_sets"]
    assert offered["0-places"] == ["grass", "sand"]
    assert "0-many" not in offered

    # and when it is chosen, all pictures are tagged with it
    star, _ = gallery.put(STAR)
    moon, _ = gallery.put(MOON)
    gallery.wait_for_answers(star, moon)
    labels = {"label_set": "0-places"}
    assert gallery.request("PUT", f"{gallery.path}/labels", json=labels).status == 200
    gallery.wait(lambda news: news["revision"] == 2)
    answers = gallery.wait_for_answers(star, moon)
    assert (best(answers[star]), best(answers[moon])) == ("grass", "sand")
    assert {label for label, _ in answers[star]["tags"]} == {"grass", "sand"}


def test_an_upload_is_kept_until_its_picture_is_removed_or_its_gallery_closed(
    gallery, shared_worker
):
    with redis.Redis.from_url(shared_worker.redis) as broker:
        broker.delete("", *broker.scan_iter(UPLOADS))
        star, _ = gallery.put(STAR)
        moon, _ = gallery.put(MOON)
        gallery.wait_for_answers(star, moon)
        assert count_uploads(broker) == 2
        # when
        gallery.request("DELETE", f"{gallery.path}/pictures/{star}")
        # then
        assert count_uploads(broker) == 1
        gallery.request("DELETE", gallery.path)
        assert count_uploads(broker) == 0
    assert gallery.request("PUT", f"{gallery.path}/labels", json={"labels": ["a"]}).status == 404


def test_what_is_no_picture_says_so_in_a_sentence_and_the_others_are_tagged(gallery):
    text, _ = gallery.put(b"<html>")
    local, _ = gallery.put_url("http://127.0.0.1/cat.jpg")
    star, _ = gallery.put(STAR)
    answers = gallery.wait_for_answers(text, local, star)
    assert answers[text]["sentence"] == "This is not an image in a format that the worker reads."
    assert answers[local]["sentence"] == "This address is not on the public web."
    assert "tags" in answers[star]

    # they are not asked for again with other labels
    gallery.relabel("red", "blue")
    gallery.wait(lambda news: news["revision"] == 2)
    gallery.wait_for_answers(star)
    assert gallery.news["answers"][text]["revision"] == 1

    # what can't be sent is refused at once
    for uri in ("file:///etc/passwd", "s3://bucket/key", "redis://uploads/" + 64 * "0", "data:,a"):
        assert gallery.put_url(uri)[1] == 422, uri
    assert gallery.put_url("https://user:secret@example.com/a.jpg")[1] == 202
    assert gallery.put(b"")[1] == 422
    assert gallery.put(STAR, "no-uuid")[1] == 422
    large = gallery.request(
        "PUT", f"{gallery.path}/pictures/{star}", headers={"Content-Length": "10000001"}
    )
    assert large.status == 413


def test_a_picture_beyond_the_limit_is_refused_in_a_sentence(recipe, http, shared_worker, tmp_path):
    # given a server whose galleries have at most one picture
    program = tmp_path / "small.py"
    program.write_text(SMALL.format(folder=str(EXAMPLES / "gallery")))
    site = recipe.serve(str(program), REDIS_URL=shared_worker.redis)
    with GalleryClient(http, site) as gallery:
        star, status = gallery.put(STAR)
        assert status == 202
        # then a second one is refused, and the first may be replaced
        path = f"{gallery.path}/pictures/{uuid4()}"
        full = gallery.request("PUT", path, body=MOON)
        sentence = "A gallery has at most 1 pictures. Remove some."
        assert (full.status, full.json()["sentence"]) == (409, sentence)
        assert gallery.put(MOON, star)[1] == 202
        gallery.wait_for_answers(star)


def test_labels_that_the_worker_would_refuse_are_refused_in_a_sentence(gallery):
    many = [str(number) for number in range(101)]
    for labels in ([], ["a", "a"], [" "], ["a" * 201], many, "abc", [1]):
        refused = gallery.request("PUT", f"{gallery.path}/labels", json={"labels": labels})
        assert (refused.status, refused.json()["sentence"]) == (
            422,
            "Give 1 to 100 different labels of at most 200 characters.",
        )


def test_labels_that_only_the_worker_can_refuse_are_named_once_until_they_are_changed(gallery):
    star, _ = gallery.put(STAR)
    gallery.wait_for_answers(star)
    # when
    gallery.request(
        "PUT", f"{gallery.path}/labels", json={"labels": ["\N{UNICORN FACE}" * 60, "star"]}
    )
    too_long = "A label is too long for the model. Use fewer words."
    gallery.wait(lambda news: news["trouble"] == too_long)
    # then
    gallery.request("PUT", f"{gallery.path}/labels", json={"label_set": "unknown"})
    unknown = "This label set no longer exists. Choose another one."
    gallery.wait(lambda news: news["trouble"] == unknown)
    gallery.relabel("star", "moon")
    gallery.wait(lambda news: news["revision"] == 4)
    assert best(gallery.wait_for_answers(star)[star]) == "star"


def test_the_page_is_its_own_and_no_other_page_may_change_a_gallery(gallery):
    page = gallery.request("GET", "/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    # nothing is loaded from elsewhere, and no script or style is in the page
    for path in [*STATIC.rglob("*.html"), *STATIC.rglob("*.css"), *STATIC.rglob("*.js")]:
        assert not re.search(r"(?:src|href|url|import)\W{1,3}https?://", path.read_text()), path
    assert not re.search(r"<style|style=|\son\w+=|<script(?! src=)", page.data.decode())
    # and another site's page can't send anything
    for path in ("/galleries", f"{gallery.path}/labels"):
        foreign = gallery.request("POST", path, headers={"Sec-Fetch-Site": "cross-site"})
        assert foreign.status == 403
    assert gallery.request("GET", "/galleries/guessed/events").status == 404


def test_a_new_gallery_takes_the_place_of_one_that_no_page_listens_to(http, site):
    idle = http.request("POST", f"{site}/galleries").json()["id"]
    with GalleryClient(http, site) as listening:
        for _ in range(99):
            assert http.request("POST", f"{site}/galleries").status == 201
        labels = {"labels": ["a"]}
        gone = http.request("PUT", f"{site}/galleries/{idle}/labels", json=labels)
        assert gone.status == 404
        assert listening.relabel("a").status == 200


ROOM = """
import sys
sys.path.insert(0, {folder!r})
from galleries import Galleries
galleries = Galleries(max_bytes=10)
with galleries.room_for(6) as one, galleries.room_for(6) as other:
    print(one, other)
with galleries.room_for(6) as later:
    print(later)
"""


def test_uploads_at_the_same_time_do_not_exceed_the_limit_together():
    program = ROOM.format(folder=str(EXAMPLES / "gallery"))
    assert run(sys.executable, "-c", program).split() == ["True", "False", "True"]


def test_a_gallery_goes_on_when_worker_and_redis_come_back(recipe, http, tmp_path):
    with new_server() as server:
        site = serve(recipe, server.url)
        with GalleryClient(http, site) as gallery:
            # given no worker
            star, _ = gallery.put(STAR)
            gallery.wait(lambda news: "No worker has answered" in news["trouble"])
            # when Redis is away, too
            server.kill()
            gallery.wait(lambda news: "The queue can't be reached" in news["trouble"])
            assert gallery.put(MOON)[1] == 503
            # and both are back, but Redis has lost the picture
            server.restart()
            with WorkerProcess(server.url, tmp_path):
                answer = gallery.wait_for_answers(star)[star]
                assert answer["code"] == "UPLOAD_NOT_FOUND"
                # then the page sends it again
                gallery.put(STAR, star)
                gallery.wait(lambda news: "tags" in news["answers"][star])
                assert gallery.news["trouble"] == ""
