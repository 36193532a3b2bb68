"""What the arguments of `clip-worker classify` stand for."""

from __future__ import annotations

import pytest

from worker.cli.classify.image_arguments import Picture, find_pictures
from worker.cli.output.usage_error import WrongInputError
from worker.errors import InvalidRequestError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a few files."""
    for name in ("b.jpg", "a.PNG", "notes.txt", "[x].gif", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"")
    for name in ("deep/er/c.webp", "deep/a.tiff", ".git/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*arguments: str) -> list[str]:
    return [picture.name for picture in find_pictures(arguments)]


def test_a_file_is_itself_whatever_its_suffix(folder):
    assert names("notes.txt", "b.jpg") == ["notes.txt", "b.jpg"]


def test_a_folder_is_searched_in_the_order_of_names_for_image_suffixes(folder):
    assert names(".") == ["./[x].gif", "./a.PNG", "./b.jpg", "./deep/a.tiff", "./deep/er/c.webp"]


def test_a_glob_that_the_shell_left_alone_is_expanded_and_sorted(folder):
    assert names("*.[jP]*") == ["a.PNG", "b.jpg"]


def test_two_stars_reach_into_folders(folder):
    assert names("**/*.webp") == ["deep/er/c.webp"]


def test_a_glob_that_matches_a_folder_means_its_pictures(folder):
    assert names("dee*") == ["deep/a.tiff", "deep/er/c.webp"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder):
    assert names("[x].gif") == ["[x].gif"]


def test_pictures_stand_in_the_order_of_the_arguments_and_may_repeat(folder):
    assert names("b.jpg", "deep", "b.jpg") == ["b.jpg", "deep/a.tiff", "deep/er/c.webp", "b.jpg"]


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/a*b.jpg?x=[1]",
        "HTTP://example.com/cat.jpg",
        "s3://bucket/cat.jpg",
        "data:,cat",
        "file:///data/cat.jpg",
        "redis://uploads/" + "ab" * 32,
    ],
)
def test_a_uri_is_left_to_the_worker(folder, uri):
    assert find_pictures([uri]) == [Picture(uri)]


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("nowhere.jpg", "There is no file 'nowhere.jpg'"),
        ("*.nothing", r"No picture matches '\*\.nothing'"),
        (
            "ftp://example.com/cat.jpg",
            "the scheme 'ftp', which no worker fetches; give one of http",
        ),
        ("empty", "The folder 'empty' has no pictures"),
        ("", "There is no file ''"),
    ],
)
def test_an_argument_that_stands_for_nothing_is_quoted(folder, argument, sentence):
    (folder / "empty").mkdir()

    with pytest.raises(WrongInputError, match=sentence):
        find_pictures(["b.jpg", argument])


def test_a_malformed_url_is_refused(folder):
    with pytest.raises(InvalidRequestError, match="no valid host name"):
        find_pictures(["https:///cat.jpg"])
