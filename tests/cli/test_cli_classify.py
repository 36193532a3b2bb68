"""`clip-worker classify` with a client that returns made-up results."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.cli_client import LABEL_SET, FakeClient

from clip_worker.errors import QueueUnavailableError
from worker.cli.entry import run


@pytest.fixture
def client(monkeypatch):
    client = FakeClient()
    monkeypatch.setattr("worker.cli.open_client.Client", client)
    return client


@pytest.fixture
def folder(tmp_path):
    """Eleven files, more than fit into one message."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(11):
        (folder / f"{number:02}.jpg").write_bytes(b"image %d" % number)
    return folder


def classify(*arguments: object) -> int:
    return run(["classify", *map(str, arguments)])


def test_the_table_has_the_images_in_order_and_a_line_for_each_label(client, folder, capsys):
    assert classify(folder, "--labels", "cat, dog,car", "-k", "2") == 0

    printed = capsys.readouterr()
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[:2] == [
        [str(folder / "00.jpg"), "cat", "██████████", "50.0%"],
        [str(folder / "00.jpg"), "dog", "█████", "25.0%"],
    ]
    assert [line[0] for line in lines[::2]] == list(map(str, sorted(folder.iterdir())))
    # and nothing that only a terminal understands
    assert "\x1b" not in printed.out
    assert printed.err == ""


def test_files_are_uploaded_and_urls_are_sent_as_they_are(client, folder, capsys):
    url = "https://example.com/cat.jpg"
    assert classify(folder / "03.jpg", url, folder / "04.jpg", "--labels", "a", "--json") == 0

    assert client.uploads == [b"image 3", b"image 4"]
    assert url in [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]


def test_images_are_sent_for_a_tenant_if_one_is_named(client, folder):
    assert classify(folder, "--labels", "a", "--tenant", "org:42") == 0
    assert classify(folder, "--labels", "a") == 0

    assert [request["tenant"] for request in client.requests] == ["org:42", None]


def test_json_has_one_object_per_line(client, folder, capsys):
    assert classify(folder, "--labels", "cat,dog", "-k", "1", "--json") == 0

    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert objects[0]["predictions"] == [{"label": "cat", "probability": 0.5, "index": 0}]
    assert sorted(one["image"] for one in objects) == list(map(str, sorted(folder.iterdir())))


def test_scores_levels_and_none_of_these_are_printed_where_they_are_asked_for(
    client, folder, capsys
):
    image = folder / "00.jpg"
    options = ("--label-set", "animals", "--score", "cosine", "--none-of-these")

    assert classify(image, *options, "-k", "1") == 0
    table = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert classify(image, *options, "-k", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)

    rows = [[part.strip() for part in line if part.strip()] for line in table]
    assert [(row[1], row[-1]) for row in rows] == [
        ("animal", "75.0%"),
        ("animal > cat", "0.2500"),
        ("none of these", "12.5%"),
    ]
    assert "50.0%" in rows[1]
    cat = {"label": "animal > cat", "probability": 0.5, "index": 0, "score": 0.25}
    assert found["predictions"] == [cat]
    assert found["none_of_these"] == 0.125
    assert found["label_set"] == {"name": "animals", "version": LABEL_SET.version}
    assert found["levels"] == [[{"label": "animal", "probability": 0.75, "index": 0}], [cat]]
    asked = {"label_set": "animals", "score": "cosine", "none_of_these": True}
    assert client.requests[0].items() >= asked.items()


def test_an_image_that_fails_has_the_reason_and_the_others_go_on(client, folder, capsys):
    (folder / "05.jpg").write_bytes(b"bad")

    assert classify(folder, "--labels", "cat", "-k", "1") == 1

    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[5].split(maxsplit=1) == [str(folder / "05.jpg"), "These bytes are no image."]
    assert len(lines) == 11
    assert printed.err == "clip-worker: 1 of 11 images failed.\n"


def test_a_failure_in_json_has_a_code(client, folder, capsys):
    (folder / "00.jpg").write_bytes(b"bad")

    assert classify(folder / "00.jpg", "--labels", "cat", "--json") == 1

    error = {"type": "ImageInvalidError", "code": "DECODE_UNRECOGNIZED"}
    assert json.loads(capsys.readouterr().out) == {
        "image": str(folder / "00.jpg"),
        "error": error | {"message": "These bytes are no image."},
    }


def test_a_file_that_cannot_be_read_fails_alone_in_its_place(client, folder, capsys):
    # given: broken links, first and last
    for name in ("00.jpg", "10.jpg"):
        (folder / name).unlink()
        (folder / name).symlink_to("nowhere")

    assert classify(folder, "--labels", "cat") == 1

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(map(str, sorted(folder.iterdir())))
    for line in (lines[0], lines[10]):
        assert "can't be read: No such file or directory." in line
    assert len(client.uploads) == 9


def test_a_limited_number_of_images_is_in_flight(client, folder, capsys):
    assert classify(*[folder] * 60, "--labels", "cat") == 0

    assert len(client.uploads) == len(capsys.readouterr().out.splitlines()) == 660
    assert client.most_in_flight == 256


def test_labels_from_a_file_may_contain_commas_and_are_added(client, folder, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffa cat, asleep\n\n  a dog \n", "utf-8")

    assert classify(folder, "--labels", "car", "--labels-file", file) == 0

    assert client.requests[0]["labels"] == ["car", "a cat, asleep", "a dog"]


def test_the_options_reach_the_worker(client, folder):
    options = ["-k", "1", "--threshold", "0.25", "--template", "one {}", "--template", "two {}"]
    options += ["--redis-url", "redis://elsewhere/3", "--queue", "big"]

    assert classify(folder, "--labels", "a,b", *options) == 0
    assert classify(folder, "--labels", "a", "--ensemble", "imagenet") == 0

    assert client.opened[0] == ("redis://elsewhere/3", "big")
    usual = {"score": "softmax", "none_of_these": False, "tenant": None}
    templates = ["one {}", "two {}"]
    assert client.requests == [
        usual | {"labels": ["a", "b"], "k": 1, "templates": templates, "threshold": 0.25},
        usual | {"labels": ["a"], "k": 5, "ensemble": "imagenet"},
    ]


def test_redis_and_queue_may_be_set_in_the_environment(client, folder, monkeypatch):
    monkeypatch.setenv("CLIP_WORKER_REDIS_URL", "redis://named/1")
    monkeypatch.setenv("CLIP_WORKER_QUEUE", "named")

    assert classify(folder, "--labels", "a") == 0

    assert client.opened == [("redis://named/1", "named")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--labels", ""], "There are no labels"),
        ([], "There are no labels"),
        (["--labels", "cat,,dog"], "The label '' is blank"),
        (["--labels", "cat,dog,cat"], "The label 'cat' is there twice"),
        (["--labels", "cat", "-k", "0"], "k is 0; give 1 or more."),
        (["--labels", "cat", "--template", "photo"], "The template 'photo' has 0 placeholders"),
        (["--labels", "a", "--ensemble", "x", "--template", "a {}"], "templates and ensemble"),
        (["--labels", "cat", "--threshold", "2"], "threshold is 2.0"),
        (["--labels", "cat", "-k", "many"], "'many' is not a valid integer"),
        (["--labels", "cat", "--timeout", "0"], "0.0 is not in the range"),
        (["--labels-file", "nowhere.txt"], "'nowhere.txt' does not exist"),
        (["--labels-file", "latin"], "is not UTF-8 text"),
        *((["--labels", "a", option, "gr\udcfcn"], r"'gr\udcfcn' is not valid UTF-8; use")
          for option in ("--labels", "--template", "--ensemble", "--queue")),
    ],
)  # fmt: skip
def test_invalid_options_are_rejected_before_anything_is_sent(
    client, folder, monkeypatch, capsys, *, arguments, sentence
):
    monkeypatch.chdir(folder.parent)
    Path("latin").write_bytes(b"gr\xfcn")

    assert classify(folder, *arguments) == 2

    assert sentence in capsys.readouterr().err
    assert client.uploads == client.requests == []


@pytest.mark.parametrize("url", ["localhost:6379", "redis://localhost:port/0", "http://localhost"])
def test_an_invalid_redis_url_is_rejected(folder, capsys, url):
    assert classify(folder, "--labels", "a", "--redis-url", url) == 2

    printed = capsys.readouterr().err
    assert printed.startswith(f"clip-worker: {url!r} is not a Redis URL; give one such as")


def test_without_redis_the_error_is_one_sentence_without_the_password(folder, capsys):
    assert classify(folder, "--labels", "a", "--redis-url", "redis://:pw@localhost:1") == 1

    printed = capsys.readouterr()
    assert printed.err.startswith("clip-worker: Redis at redis://:***@localhost:1 can't be used:")
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert "pw" not in printed.err


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (QueueUnavailableError("Redis is gone."), 1, "clip-worker: Redis is gone."),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_lost_redis_and_ctrl_c_end_it_without_a_traceback(
    client, folder, capsys, monkeypatch, *, error, status, sentence
):
    def fail(_data: bytes, **_options: float) -> str:
        raise error

    monkeypatch.setattr(client, "upload", fail)

    assert classify(folder, "--labels", "a") == status

    assert capsys.readouterr().err.strip() == sentence


def test_unprintable_characters_in_names_are_replaced(client, tmp_path, capsys):
    # given: names with a terminal's escape and with a byte that is not UTF-8
    for name in (b"red\x1b[31m.jpg", b"latin-\xe9.jpg"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"picture")

    assert classify(tmp_path, "--labels", "a") == 0

    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert [Path(name).name for name in names] == ["latin-\ufffd.jpg", "red\ufffd[31m.jpg"]


def test_arguments_that_the_locale_cannot_decode_are_read_as_utf_8(client, tmp_path, capsys):
    # given what LC_ALL=C makes of them without Python's UTF-8 mode
    def as_in_c(text: str) -> str:
        return text.encode().decode("ascii", "surrogateescape")

    file = tmp_path / "grün.jpg"
    file.write_bytes(b"picture")
    options = ["--labels", "grün,blau", "--template", "ein {} 🐈", "--queue", "wörk", "--json"]
    assert classify(as_in_c(str(file)), *map(as_in_c, options)) == 0
    [request] = client.requests
    assert (request["labels"], request["templates"]) == (["grün", "blau"], ["ein {} 🐈"])
    assert client.opened[0][1] == "wörk"
    assert json.loads(capsys.readouterr().out)["image"] == str(file)
