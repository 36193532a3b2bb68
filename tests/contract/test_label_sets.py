"""What a label set may contain, and how it is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.failure import failure_of

from clip_worker.contract import LabelSet, LabelSetCalibration, parse

PATHS = ["animal > cat", "animal>dog >  beagle", "car", "animal"]
FITTED: dict[str, Any] = {
    "temperature": 0.7,
    "none_bias": -1.5,
    "thresholds": [0.25, None, 0.5],
    "model_digest": "0" * 64,
    "templates": ["a {}", "the {}"],
    "score": "softmax",
    "rows": 120,
}
CALIBRATION = LabelSetCalibration.model_validate(FITTED)


def label_set(**fields: Any) -> LabelSet:
    return parse(LabelSet, {"labels": ["cat", "dog", "car"]} | fields)


def test_the_paths_of_a_hierarchy_are_spelled_alike() -> None:
    found = label_set(labels=PATHS, hierarchical=True)
    assert found.labels == ("animal > cat", "animal > dog > beagle", "car", "animal")
    assert label_set(labels=PATHS).labels == tuple(PATHS)  # plain labels stay as they are


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"labels": PATHS, "hierarchical": True},
        {"calibration": CALIBRATION},
        {"templates": ["a {}"], "thresholds": [-0.5, None, 0.25], "score": "cosine"},
    ],
    ids=["plain", "hierarchical", "calibrated", "with its own templates and thresholds"],
)
def test_a_set_survives_being_stored(fields: dict[str, Any]) -> None:
    written = label_set(**fields)
    stored = written.to_json()
    assert LabelSet.from_json(stored.encode()) == written
    later = {"templates", "thresholds", "score"} & fields.keys()
    usual = {"version", "labels", "hierarchical", "calibration"}
    assert json.loads(stored).keys() == usual | later


def test_a_record_of_labels_alone_is_read_with_the_version_it_had() -> None:
    # given what was stored before there were hierarchies for these labels
    stored = b'{"version": "cd73b2771c51", "labels": ["cat", "dog"]}'
    # then
    found = LabelSet.from_json(stored)
    assert found == label_set(labels=["cat", "dog"])
    assert found.version == "cd73b2771c51"
    assert json.loads(found.to_json())["labels"] == ["cat", "dog"]


def test_a_version_tells_each_difference_and_nothing_else() -> None:
    calibrations = [CALIBRATION.model_copy(update={"temperature": 1.0 + i}) for i in range(2)]
    sets = [
        label_set(),
        label_set(labels=["cat", "dog"]),
        label_set(hierarchical=True),
        *(label_set(calibration=each) for each in calibrations),
        label_set(templates=["a {}"]),
        label_set(thresholds=[0.5, None, None]),
        label_set(thresholds=[0.5, None, None], score="sigmoid"),
    ]
    versions = [each.version for each in sets]
    assert len(set(versions)) == len(sets)
    assert {len(version) for version in versions} == {12}
    assert [LabelSet.from_json(each.to_json().encode()).version for each in sets] == versions
    assert label_set(number=5).version == label_set().version
    assert calibrations[0].id != calibrations[1].id


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"labels": []}, "NO_LABELS", ["at least one"]),
        ({"labels": ["cat", "cat"]}, "DUPLICATE_LABEL", ["'cat'", "twice"]),
        ({"hierarchical": 1}, "INVALID_REQUEST", ["hierarchical is 1", "true or false"]),
        *(
            ({"labels": ["cat", path], "hierarchical": True}, "BAD_LABELS", [repr(path), "blank"])
            for path in ("animal > ", "> dog", "a > > b", ">")
        ),
        (
            {"labels": ["a > b", "a>b"], "hierarchical": True},
            "DUPLICATE_LABEL",
            ["'a>b'", "twice"],
        ),
        (
            {"calibration": {**FITTED, "thresholds": [0.5]}},
            "BAD_CALIBRATION",
            ["1 thresholds for 3 labels"],
        ),
        ({"calibration": {**FITTED, "temperature": 0}}, "BAD_CALIBRATION", ["temperature is 0"]),
        ({"calibration": {**FITTED, "none_bias": float("inf")}}, "BAD_CALIBRATION", ["none_bias"]),
        ({"calibration": {**FITTED, "templates": ["a"]}}, "BAD_TEMPLATE", ["0 placeholders"]),
        ({"calibration": {**FITTED, "score": "dot"}}, "BAD_CALIBRATION", ["score is 'dot'"]),
        ({"calibration": {"rows": 5}}, "BAD_CALIBRATION", ["model_digest' is missing"]),
        ({"calibration": 0.5}, "BAD_CALIBRATION", ["calibration is 0.5"]),
        ({"templates": []}, "BAD_TEMPLATE", ["at least one"]),
        ({"templates": ["a"]}, "BAD_TEMPLATE", ["0 placeholders"]),
        ({"thresholds": [0.5]}, "BAD_LABELS", ["1 thresholds for 3 labels"]),
        ({"thresholds": [0.5, 1.5, None]}, "INVALID_REQUEST", ["threshold is 1.5", "softmax"]),
        ({"thresholds": [0, "x", None]}, "INVALID_REQUEST", ["thresholds.1 is 'x'"]),
        ({"number": 0}, "INVALID_REQUEST", ["number is 0"]),
    ],
)
def test_an_invalid_set_is_rejected(fields: dict[str, Any], code: str, words: list[str]) -> None:
    error = failure_of(parse, LabelSet, {"labels": ["cat", "dog", "car"]} | fields)
    assert error.code == code
    for word in words:
        assert word in error.message
