"""`clip-worker labels put`, `show` and `list`, on a real Redis; versions are in another file."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from clip_worker import Client
from clip_worker.contract import LabelSet, LabelSetCalibration
from clip_worker.redis.label_sets import KEY_PREFIX
from worker.cli.entry import run
from worker.cli.labels.calibration_file import CalibrationFile

pytestmark = pytest.mark.integration

CALIBRATION = LabelSetCalibration(
    temperature=1.25,
    none_bias=-0.5,
    thresholds=(0.5, None),
    model_digest="0123456789abcdef",
    templates=("a photo of a {}.",),
    score="softmax",
    rows=200,
)


OF_CATS_AND_DOGS = CalibrationFile.of(
    LabelSet(labels=("cat", "dog")), CALIBRATION
).model_dump_json()


@pytest.fixture
def labels(redis_url, tmp_path, capsys):
    """Runs `clip-worker labels`; its exit status, and the lines of its output and errors."""

    def labels(command, *arguments: object):
        status = run(["labels", command, "--redis-url", redis_url, *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return labels


@pytest.fixture
def client(redis_url):
    with Client(redis_url) as client:
        yield client


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "animals.txt"
    file.write_text("# animals\ncat\ndog\n")
    return file


def test_a_stored_file_is_what_clients_read_and_what_is_shown(labels, client, file):
    status, [line], errors = labels("put", "animals", file)

    stored = client.get_label_set("animals")
    assert (status, errors, stored.labels) == (0, [], ("cat", "dog"))
    assert line == f"Stored 2 labels as 'animals@1', version {stored.version}."
    assert labels("show", "animals")[1] == [
        "name         animals@1",
        f"version      {stored.version}",
        "labels       2, plain",
        "calibration  none",
        "  cat",
        "  dog",
    ]


def test_what_is_shown_as_json_can_be_stored_again(labels, client, file, tmp_path):
    labels("put", "animals", file)
    shown = tmp_path / "shown.json"
    shown.write_text(labels("show", "animals", "--json")[1][0])

    assert labels("put", "copy", shown)[0] == 0

    assert client.get_label_set("copy") == client.get_label_set("animals")


def test_paths_and_a_calibration_are_stored_and_shown(labels, client, tmp_path):
    paths, calibration = tmp_path / "paths.txt", tmp_path / "calibration.json"
    paths.write_text("animal>cat\nanimal > dog\n")
    label_set = LabelSet(labels=("animal > cat", "animal > dog"), hierarchical=True)
    calibration.write_text(CalibrationFile.of(label_set, CALIBRATION).model_dump_json())

    assert labels("put", "a", paths, "--hierarchical", "--calibration", calibration)[0] == 0

    stored = client.get_label_set("a")
    assert (stored.hierarchical, stored.calibration) == (True, CALIBRATION)
    _, lines, _ = labels("show", "a")
    assert lines[2:] == [
        "labels       2, hierarchical",
        f"calibration  {CALIBRATION.id}, fitted to 200 images",
        "  score        softmax",
        "  temperature  1.25",
        "  none bias    -0.5",
        "  model        0123456789ab...",
        "  template     a photo of a {}.",
        "  animal > cat  threshold 0.5",
        "  animal > dog",
    ]
    _, [line], _ = labels("show", "a", "--json")
    assert json.loads(line)["calibration"]["id"] == CALIBRATION.id


def test_new_labels_without_a_calibration_say_that_the_old_one_is_dropped(labels, client, file):
    client.put_label_set("animals", ["cat", "dog"], calibration=CALIBRATION)

    status, _, [note] = labels("put", "animals", file)

    assert status == 0
    assert note.startswith("clip-worker: The calibration of 'animals' is dropped")
    assert labels("put", "animals", file)[2] == []


def test_all_sets_are_listed_by_name(labels, client):
    assert labels("list")[1] == [
        "There are no label sets; store one with `clip-worker labels put NAME FILE`."
    ]
    version = client.put_label_set("b", ["cat", "dog"], calibration=CALIBRATION)
    other = client.put_label_set("a", ["animal > cat"], hierarchical=True)

    status, lines, _ = labels("list")

    assert status == 0
    assert [line.split() for line in lines] == [
        ["name", "version", "labels", "kind", "calibration"],
        ["a@1", other, "1", "hierarchical", "none"],
        ["b@1", version, "2", "plain", CALIBRATION.id],
    ]
    assert [json.loads(line)["version"] for line in labels("list", "--json")[1]] == [other, version]


def test_a_set_that_cant_be_read_is_reported_and_the_others_are_listed(labels, client, redis_url):
    client.put_label_set("good", ["cat"])
    with Redis.from_url(redis_url) as redis:
        redis.set(KEY_PREFIX + "bad", b"{")

    status, lines, [error] = labels("list")

    assert (status, len(lines)) == (1, 2)
    assert "The stored label set 'bad' can't be read" in error


@pytest.mark.parametrize(
    ("content", "options", "error"),
    [
        ("cat\ncat\n", [], "The label 'cat' is there twice"),
        ('["cat", " "]', [], "The label '' is blank"),
        ("animal\nanimal >  > cat\n", ["--hierarchical"], "has a blank part"),
        ("cat\n", ["--calibration", "{}"], "'labels_version' is missing"),
        ("cat\n", ["--calibration", "[]"], "is not a calibration"),
        ("cat\n", ["--calibration", "{"], "is not valid JSON"),
        ("dog\ncat\n", ["--calibration", OF_CATS_AND_DOGS], "or for these in another order"),
    ],
)
def test_what_no_request_could_use_is_not_stored(labels, tmp_path, content, options, error):
    file, calibration = tmp_path / "labels.txt", tmp_path / "calibration.json"
    file.write_text(content)
    if "--calibration" in options:
        calibration.write_text(options[1])
        options = [options[0], calibration]

    status, lines, errors = labels("put", "animals", file, *options)

    assert (status, lines) == (2, [])
    assert error in errors[0]
    assert labels("list")[1][0].startswith("There are no label sets")


def test_an_unknown_set_is_invalid_input(labels):
    status, _, [error] = labels("show", "animals")

    assert status == 2
    assert "There is no label set 'animals'" in error
