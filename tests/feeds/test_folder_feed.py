"""Folders, globs and buckets as feeds: a fixed order, which is continued anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.moto_server import BUCKET, moto_server

from clip_worker.errors import ServiceError
from clip_worker.feeds.bucket_feed import BucketFeed
from clip_worker.feeds.feed import Feed
from clip_worker.feeds.open_feed import open_feed

NAMES = ("b.jpg", "a.PNG", "z.gif", "deep/a.jpg", "deep/er/c.webp", "deep-er/a.jpg", "deep/z.png")
NO_IMAGES = (".hidden.jpg", "notes.txt", ".git/a.jpg", "deep/empty.txt")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*NAMES, *NO_IMAGES):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def keys(feed: Feed, position: str | None = None) -> list[str]:
    return [item.key for item in feed.items(position)]


@pytest.mark.parametrize("source", ["in", "./in", "in/**/*.[jpgwPG]*"])
def test_all_images_are_yielded_and_reading_continues_after_any(folder: Path, source: str) -> None:
    feed = open_feed(source)
    found = [*feed.items(None)]
    assert {os.path.relpath(item.key, "in") for item in found} == {*NAMES}
    assert feed.total == len(NAMES)
    assert all(item.path and item.path.exists() for item in found)
    for number, item in enumerate(found):
        assert [*open_feed(source).items(item.position)] == found[number + 1 :]


def test_a_file_that_a_glob_matches_in_several_ways_is_yielded_once(folder: Path) -> None:
    (folder / "deep/er/deep").mkdir()
    (folder / "deep/er/deep/a.jpg").touch()
    feed = open_feed("in/**/deep/**/*.jpg")
    assert keys(feed) == ["in/deep/a.jpg", "in/deep/er/deep/a.jpg"]
    assert feed.total == 2


def test_a_folder_is_continued_although_its_last_image_was_deleted(folder: Path) -> None:
    found = [*open_feed("in").items(None)]
    assert found[3].path is not None
    found[3].path.unlink()
    assert keys(open_feed("in"), found[3].position) == [item.key for item in found[4:]]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_names_that_are_not_utf8_are_yielded_once(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.jpg")).touch()
    found = [*open_feed("in").items(None)]
    [odd] = [item for item in found if "\ufffd" in item.image]
    assert odd.path is not None
    assert odd.path.exists()
    assert odd.position not in {item.position for item in open_feed("in").items(odd.position)}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read each folder")
def test_a_folder_without_rights_is_named(folder: Path) -> None:
    (folder / "deep").chmod(0)
    try:
        with pytest.raises(ServiceError, match="'in/deep' can't be read"):
            keys(open_feed("in"))
    finally:
        (folder / "deep").chmod(0o700)


@pytest.mark.slow
@pytest.mark.integration
def test_a_bucket_is_listed_page_by_page_from_any_key_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with moto_server() as moto:
        # given more than two pages
        expected = []
        monkeypatch.setattr("clip_worker.feeds.bucket_feed.PAGE", 10)
        for number in range(21):
            moto.put(f"pets/{number:02} ü.jpg", b"x")
            expected.append(f"s3://{BUCKET}/pets/{number:02} ü.jpg")
        moto.put("pets/notes.txt", b"x")
        moto.put("other/a.jpg", b"x")
        # when
        found = [*open_feed(f"s3://{BUCKET}/pets/").items(None)]
        # then
        assert [item.image for item in found] == expected
        assert open_feed(f"s3://{BUCKET}/").total is None
        for number in (0, 9, 10, 20):
            again = keys(open_feed(f"s3://{BUCKET}/pets/"), found[number].position)
            assert again == expected[number + 1 :]
        with pytest.raises(ServiceError, match="The bucket 'missing' can't be used"):
            keys(BucketFeed("missing", ""))
