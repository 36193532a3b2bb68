"""`clip-worker labels`: versions, their differences, and what files say, on a real Redis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from clip_worker import Client
from worker.cli.entry import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, list[str], list[str]]]

pytestmark = pytest.mark.integration


@pytest.fixture
def labels(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `clip-worker labels`; its exit status, and the lines of its output and errors."""

    def labels(command: str, *arguments: object) -> tuple[int, list[str], list[str]]:
        status = run(["labels", command, "--redis-url", redis_url, *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return labels


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


@pytest.fixture
def put(labels: Run, tmp_path: Path) -> Callable[..., list[str]]:
    """Stores the content of a file, and returns what is printed."""

    def put(content: str, *options: object, suffix: str = ".txt") -> list[str]:
        file = tmp_path / f"labels{suffix}"
        file.write_text(content)
        status, lines, errors = labels("put", "animals", file, *options)
        assert (status, errors) == (0, [])
        return lines

    return put


def test_each_change_is_a_version_that_stays(
    labels: Run, put: Callable[..., list[str]], client: Client
) -> None:
    first, second, again = put("cat\n"), put("cat\ndog\n"), put("cat\ndog\n")
    assert first[0].startswith("Stored 1 label as 'animals@1', version ")
    assert second[0].startswith("Stored 2 labels as 'animals@2', version ")
    assert again[0].startswith("Nothing changed: 'animals@2', version ")
    assert client.get_label_set("animals@1").labels == ("cat",)
    _, lines, _ = labels("list", "animals")
    assert [line.split()[0] for line in lines] == ["name", "animals@1", "animals@2"]
    _, lines, _ = labels("list")
    assert [line.split()[0] for line in lines] == ["name", "animals@2"]
    assert labels("show", "animals@1")[1][0] == "name         animals@1"
    assert labels("list", "pets")[0] == 2


def test_a_table_may_have_thresholds(
    labels: Run, put: Callable[..., list[str]], client: Client
) -> None:
    put("threshold;label\n0.5;cat\n;dog\n", suffix=".csv")
    stored = client.get_label_set("animals")
    assert (stored.labels, stored.thresholds) == (("cat", "dog"), (0.5, None))
    _, lines, _ = labels("show", "animals")
    assert lines[2:] == [
        "labels       2, plain",
        "thresholds   for the score softmax",
        "calibration  none",
        "  cat  threshold 0.5",
        "  dog",
    ]


def test_an_object_may_have_all_that_a_set_has_and_options_go_before_it(
    put: Callable[..., list[str]], client: Client
) -> None:
    content = {
        "labels": ["animal > cat", "car"],
        "hierarchical": True,
        "templates": ["a {}", "the {}"],
        "thresholds": [0.25, None],
        "score": "sigmoid",
    }
    put(json.dumps(content), suffix=".json")
    stored = client.get_label_set("animals")
    assert stored.model_dump(mode="json") == content | {"calibration": None, "number": 1}
    put(json.dumps(content), "--template", "{}!", "--threshold", 0.5, suffix=".json")
    stored = client.get_label_set("animals")
    assert (stored.templates, stored.thresholds) == (("{}!",), (0.5, 0.5))
    assert stored.score == "sigmoid"


def test_an_older_version_can_be_stored_again_as_it_is_shown(
    labels: Run, put: Callable[..., list[str]], client: Client
) -> None:
    put("cat\ndog\n", "--threshold", 0.5, "--ensemble", "imagenet-simple")
    put("bird\n")
    [shown] = labels("show", "animals@1", "--json")[1]
    assert put(shown, suffix=".json")[0].startswith("Stored 2 labels as 'animals@3'")
    first, third = (client.get_label_set(f"animals@{number}") for number in (1, 3))
    assert first.version == third.version
    assert first.templates is not None
    assert len(first.templates) == 7


@pytest.mark.parametrize(
    ("content", "suffix", "options", "error"),
    [
        ("label,threshold\ncat,much\n", ".csv", [], "line 2: the threshold 'much' is not a number"),
        ("label,threshold\ncat,1.5\n", ".csv", [], "threshold is 1.5; give a number from 0 to 1"),
        ('{"labels": ["cat"], "thresholds": []}', ".json", [], "0 thresholds for 1 labels"),
        ('{"labels": ["cat"], "treshold": 1}', ".json", [], "Unknown option 'treshold'"),
        ('{"labels": ["cat"], "templates": "a {}"}', ".json", [], "give a list of strings"),
        ("cat\n", ".txt", ["--threshold", "2"], "threshold is 2"),
        ("cat\n", ".txt", ["--threshold", "2", "--score", "sigmoid"], "the score 'sigmoid'"),
        ("cat\n", ".txt", ["--template", "a"], "0 placeholders"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_and_nothing_is_stored(
    labels: Run, tmp_path: Path, content: str, suffix: str, options: list[str], error: str
) -> None:
    file = tmp_path / f"labels{suffix}"
    file.write_text(content)
    status, lines, errors = labels("put", "animals", file, *options)
    assert (status, lines) == (2, [])
    assert error in errors[0]
    assert labels("list")[1][0].startswith("There are no label sets")


def test_a_name_with_a_number_is_refused(labels: Run, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("cat\n")
    status, _, [error] = labels("put", "animals@3", file)
    assert status == 2
    assert "store the labels as 'animals'" in error


def test_what_differs_between_versions_is_shown(labels: Run, put: Callable[..., list[str]]) -> None:
    put("cat\ndog\nbird\n")
    put("label,threshold\nbird,0.5\ncat,\nfish,\n", "--template", "a {}", suffix=".csv")
    status, lines, _ = labels("diff", "animals@1", "animals")
    assert status == 1
    assert lines == [
        "- dog",
        "+ fish",
        "~ bird: threshold none -> 0.5",
        "~ the order of the labels",
        '~ templates: none -> ["a {}"]',
    ]
    _, [line], _ = labels("diff", "animals@1", "animals@2", "--json")
    assert json.loads(line) == {
        "added": ["fish"],
        "removed": ["dog"],
        "moved": True,
        "thresholds": {"bird": [None, 0.5]},
        "templates": [None, ["a {}"]],
    }
    assert labels("diff", "animals@2", "animals") == (0, [], [])
    assert labels("diff", "animals", "animals@3")[0] == 2


def test_a_set_is_removed_when_that_is_confirmed(
    labels: Run, put: Callable[..., list[str]], client: Client
) -> None:
    put("cat\n")
    put("dog\n")
    status, _, [error] = labels("rm", "animals")
    assert status == 2
    assert "would remove 'animals' with 2 versions for good; add --yes" in error
    assert labels("rm", "animals@2")[0] == 2
    assert labels("rm", "animals@1") == (0, ["Removed 'animals@1'."], [])
    assert labels("rm", "animals", "--yes") == (0, ["Removed 'animals'."], [])
    assert client.list_label_sets() == []
    assert labels("rm", "animals")[0] == labels("rm", "animals", "--yes")[0] == 2
