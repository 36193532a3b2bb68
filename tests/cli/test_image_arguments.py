"""Which images the arguments of `clip-worker classify` name."""

from __future__ import annotations

import pytest

from clip_worker.errors import InvalidRequestError
from worker.cli.classify.image_arguments import ImageArgument, find_images
from worker.cli.output.usage_error import WrongInputError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, with a few files."""
    names = ["b.jpg", "a.PNG", "notes.txt", "[x].gif", ".hidden.jpg"]
    for name in [*names, "deep/er/c.webp", "deep/a.tiff", ".git/d.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["notes.txt", "b.jpg"], ["notes.txt", "b.jpg"]),
        (["."], ["./[x].gif", "./a.PNG", "./b.jpg", "./deep/a.tiff", "./deep/er/c.webp"]),
        (["*.[jP]*"], ["a.PNG", "b.jpg"]),
        (["**/*.webp"], ["deep/er/c.webp"]),
        (["dee*"], ["deep/a.tiff", "deep/er/c.webp"]),
        (["[x].gif"], ["[x].gif"]),
        (["b.jpg", "deep", "b.jpg"], ["b.jpg", "deep/a.tiff", "deep/er/c.webp", "b.jpg"]),
    ],
    ids=[
        *("a file of any suffix", "a folder", "a glob", "a recursive glob"),
        *("a glob that matches a folder", "a file that looks like a glob", "several arguments"),
    ],
)
def test_files_folders_and_globs_are_found_in_order(arguments, names):
    assert [image.name for image in find_images(arguments)] == names


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
def test_a_uri_is_left_to_the_worker(uri):
    assert find_images([uri]) == [ImageArgument(uri)]


@pytest.mark.parametrize(
    ("argument", "error", "sentence"),
    [
        ("nowhere.jpg", WrongInputError, "There is no file 'nowhere.jpg'"),
        ("*.nothing", WrongInputError, r"No file matches '\*\.nothing'"),
        ("ftp://a.example/b.jpg", WrongInputError, "scheme 'ftp', which workers don't support"),
        ("empty", WrongInputError, "The folder 'empty' has no images"),
        ("", WrongInputError, "There is no file ''"),
        ("https:///cat.jpg", InvalidRequestError, "no valid host name"),
    ],
)
def test_an_argument_that_names_no_image_is_quoted(argument, error, sentence):
    with pytest.raises(error, match=sentence):
        find_images(["b.jpg", argument])
