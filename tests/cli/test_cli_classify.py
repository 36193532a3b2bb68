"""`clip-worker classify` with a client that answers by itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.cli_client import FakeClient

from worker.cli.classify import command as classify
from worker.cli.entry import run
from worker.errors import QueueUnavailableError, ResultTimeoutError


@pytest.fixture
def client(monkeypatch):
    client = FakeClient()
    monkeypatch.setattr(classify, "Client", client)
    return client


@pytest.fixture
def pictures(tmp_path):
    """Eleven files, more than a message takes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(11):
        (folder / f"{number:02}.jpg").write_bytes(b"picture %d" % number)
    return folder


def test_a_table_has_the_pictures_in_order_and_a_line_a_label(client, pictures, capsys):
    status = run(["classify", str(pictures), "--labels", "cat, dog,car", "-k", "2"])

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [line.split() for line in lines[:2]] == [
        [str(pictures / "00.jpg"), "cat", "██████████", "50.0%"],
        [str(pictures / "00.jpg"), "dog", "█████", "25.0%"],
    ]
    assert [line.split()[0] for line in lines[::2]] == [
        str(path) for path in sorted(pictures.iterdir())
    ]


def test_files_are_uploaded_whole(client, pictures):
    assert (
        run(["classify", str(pictures / "03.jpg"), str(pictures / "04.jpg"), "--labels", "a"]) == 0
    )

    assert client.uploads == [b"picture 3", b"picture 4"]


def test_a_url_goes_to_the_worker_as_it_is(client, capsys):
    assert run(["classify", "https://example.com/cat.jpg", "--labels", "cat", "--json"]) == 0

    assert client.uploads == []
    assert json.loads(capsys.readouterr().out)["image"] == "https://example.com/cat.jpg"


def test_json_has_an_object_a_line(client, pictures, capsys):
    assert run(["classify", str(pictures), "--labels", "cat,dog", "-k", "1", "--json"]) == 0

    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(objects) == 11
    assert objects[0]["predictions"] == [{"label": "cat", "probability": 0.5, "index": 0}]
    assert {Path(one["image"]).name for one in objects} == {f"{n:02}.jpg" for n in range(11)}


def test_nothing_but_text_is_printed_where_there_is_no_terminal(client, pictures, capsys):
    run(["classify", str(pictures), "--labels", "cat,dog"])

    printed = capsys.readouterr()
    assert "\x1b" not in printed.out
    assert printed.err == ""


def test_a_picture_that_fails_says_why_and_the_others_go_on(client, pictures, capsys):
    (pictures / "05.jpg").write_bytes(b"bad")

    status = run(["classify", str(pictures), "--labels", "cat", "-k", "1"])

    printed = capsys.readouterr()
    assert status == 1
    assert printed.out.splitlines()[5].split(maxsplit=1) == [
        str(pictures / "05.jpg"),
        "These bytes are no picture.",
    ]
    assert len(printed.out.splitlines()) == 11
    assert printed.err == "clip-worker: 1 of 11 pictures failed.\n"


def test_a_file_that_cannot_be_read_fails_alone_in_its_place(client, pictures, capsys):
    # given: a link whose target is gone, first and last
    (pictures / "00.jpg").unlink()
    (pictures / "00.jpg").symlink_to("nowhere")
    (pictures / "10.jpg").unlink()
    (pictures / "10.jpg").symlink_to("nowhere")

    status = run(["classify", str(pictures), "--labels", "cat"])

    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert status == 1
    assert [line.split()[0] for line in lines] == [str(path) for path in sorted(pictures.iterdir())]
    assert "can't be read: No such file or directory." in lines[0]
    assert "can't be read" in lines[10]
    assert len(client.uploads) == 9


def test_json_tells_a_failure_with_its_code(client, pictures, capsys):
    (pictures / "00.jpg").write_bytes(b"bad")

    assert run(["classify", str(pictures / "00.jpg"), "--labels", "cat", "--json"]) == 1

    assert json.loads(capsys.readouterr().out) == {
        "image": str(pictures / "00.jpg"),
        "error": {
            "type": "ImageInvalidError",
            "code": "DECODE_UNRECOGNIZED",
            "message": "These bytes are no picture.",
        },
    }


def test_only_so_many_pictures_are_in_hand_however_many_there_are(client, pictures, capsys):
    assert run(["classify", *[str(pictures)] * 60, "--labels", "cat"]) == 0

    assert len(client.uploads) == 660
    assert client.most_in_hand == 256
    assert len(capsys.readouterr().out.splitlines()) == 660


def test_labels_of_a_file_may_hold_commas_and_are_added(client, pictures, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffa cat, asleep\n\n  a dog \n", "utf-8")

    assert run(["classify", str(pictures), "--labels", "car", "--labels-file", str(file)]) == 0

    assert client.questions[0]["labels"] == ["car", "a cat, asleep", "a dog"]


def test_the_options_reach_the_worker(client, pictures):
    options = ["-k", "1", "--threshold", "0.25", "--template", "one {}", "--template", "two {}"]
    options += ["--redis-url", "redis://elsewhere/3", "--queue", "big"]

    assert run(["classify", str(pictures), "--labels", "a,b", *options]) == 0

    assert client.arguments == ("redis://elsewhere/3", "big")
    assert client.questions == [
        {"labels": ["a", "b"], "k": 1, "templates": ["one {}", "two {}"], "threshold": 0.25}
    ]


def test_an_ensemble_is_named_to_the_worker(client, pictures, capsys):
    asked = ["classify", str(pictures), "--labels", "a", "--ensemble", "imagenet"]

    assert run(asked) == 0
    assert run([*asked, "--template", "a {}"]) == 2

    assert client.questions == [{"labels": ["a"], "k": 5, "ensemble": "imagenet"}]
    assert "There are templates and ensemble; give only one." in capsys.readouterr().err


def test_redis_and_queue_come_from_the_environment(client, pictures, monkeypatch):
    monkeypatch.setenv("CLIP_WORKER_REDIS_URL", "redis://named/1")
    monkeypatch.setenv("CLIP_WORKER_QUEUE", "named")

    assert run(["classify", str(pictures), "--labels", "a"]) == 0

    assert client.arguments == ("redis://named/1", "named")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--labels", ""], "There are no labels"),
        ([], "There are no labels"),
        (["--labels", "cat,,dog"], "The label '' is blank"),
        (["--labels", "cat,dog,cat"], "The label 'cat' is there twice"),
        (["--labels", "cat", "-k", "0"], "k is 0; give 1 or more."),
        (["--labels", "cat", "--template", "photo"], "The template 'photo' has 0 placeholders"),
        (["--labels", "cat", "--threshold", "2"], "threshold is 2.0"),
        (["--labels", "cat", "-k", "many"], "'many' is not a valid integer"),
        (["--labels", "cat", "--timeout", "0"], "0.0 is not in the range"),
        (["--labels-file", "nowhere.txt"], "'nowhere.txt' does not exist"),
    ],
)
def test_a_wrong_question_is_refused_before_anything_is_sent(
    client, pictures, capsys, arguments, sentence
):
    status = run(["classify", str(pictures), *arguments])

    assert status == 2
    assert sentence in capsys.readouterr().err
    assert client.uploads == client.questions == []


def test_a_labels_file_that_is_no_text_is_refused(client, pictures, tmp_path, capsys):
    (tmp_path / "labels").write_bytes(b"\xff\xfe\x00")

    assert run(["classify", str(pictures), "--labels-file", str(tmp_path / "labels")]) == 2

    assert "can't be read as UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["localhost:6379", "redis://localhost:port/0", "http://localhost"])
def test_a_redis_url_that_is_none_is_refused(pictures, capsys, url):
    assert run(["classify", str(pictures), "--labels", "a", "--redis-url", url]) == 2

    printed = capsys.readouterr().err
    assert printed.startswith(f"clip-worker: {url!r} is no Redis URL; give one such as")


def test_without_redis_there_is_one_sentence_and_no_password(pictures, capsys):
    status = run(
        ["classify", str(pictures), "--labels", "a", "--redis-url", "redis://:pw@localhost:1"]
    )

    printed = capsys.readouterr()
    assert status == 1
    assert printed.err.startswith("clip-worker: Redis at redis://:***@localhost:1 can't be used:")
    assert printed.out == ""
    assert "pw" not in printed.err


def test_without_an_answer_the_sentence_says_that_no_worker_seems_to_run(
    client, pictures, capsys, monkeypatch
):
    def wait_in_vain(*_: object, **__: object):
        raise ResultTimeoutError("None of 2 tasks ended within 7 s.")
        yield

    monkeypatch.setattr(client, "classify_many", wait_in_vain)

    assert run(["classify", str(pictures), "--labels", "a", "--timeout", "7"]) == 1

    printed = capsys.readouterr().err
    assert printed.startswith("clip-worker: No answer came for 7 s: no worker seems to take tasks")
    assert "clip-worker start" in printed


def test_redis_going_away_in_between_ends_it_with_a_sentence(client, pictures, capsys, monkeypatch):
    def fail(_data: bytes, _ttl_s: float) -> str:
        raise QueueUnavailableError("Redis is gone.")

    monkeypatch.setattr(client, "upload", fail)

    assert run(["classify", str(pictures), "--labels", "a"]) == 1

    assert capsys.readouterr().err == "clip-worker: Redis is gone.\n"


def test_ctrl_c_ends_it_quietly_with_the_shells_status(client, pictures, capsys, monkeypatch):
    def interrupt(_data: bytes, _ttl_s: float) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "upload", interrupt)

    assert run(["classify", str(pictures), "--labels", "a"]) == 130

    assert capsys.readouterr().err.strip() == ""


def test_a_name_that_is_no_text_is_shown_with_its_odd_characters_replaced(client, tmp_path, capsys):
    # given: names with a terminal's escape and with a byte that is no UTF-8
    for name in (b"red\x1b[31m.jpg", b"latin-\xe9.jpg"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"picture")

    assert run(["classify", str(tmp_path), "--labels", "a"]) == 0

    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert [Path(name).name for name in names] == ["latin-\ufffd.jpg", "red\ufffd[31m.jpg"]


def test_arguments_that_the_locale_cannot_decode_are_read_as_utf_8(client, tmp_path, capsys):
    # given what LC_ALL=C makes of them without Python's UTF-8 mode
    def as_in_c(text: str) -> str:
        return text.encode().decode("ascii", "surrogateescape")

    file = tmp_path / "grün.jpg"
    file.write_bytes(b"picture")
    options = ["--labels", "grün,blau", "--template", "ein {} 🐈", "--queue", "wörk", "--json"]
    assert run(["classify", as_in_c(str(file)), *map(as_in_c, options)]) == 0
    [question] = client.questions
    assert question["labels"] == ["grün", "blau"]
    assert question["templates"] == ["ein {} 🐈"]
    assert client.arguments[1] == "wörk"
    assert json.loads(capsys.readouterr().out)["image"] == str(file)


@pytest.mark.parametrize("option", ["--labels", "--template", "--ensemble", "--queue"])
def test_an_option_that_is_no_utf_8_either_is_refused(client, pictures, capsys, option):
    latin = b"gr\xfcn".decode("ascii", "surrogateescape")
    assert run(["classify", str(pictures), "--labels", "a", option, latin]) == 2
    told = capsys.readouterr().err
    assert r"'gr\udcfcn' is no text in UTF-8" in told
    assert "LC_ALL=C.UTF-8" in told
    assert client.questions == []
