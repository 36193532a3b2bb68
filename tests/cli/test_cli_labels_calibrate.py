"""`clip-worker labels calibrate`, with the demo model and pictures of its world."""

from __future__ import annotations

import base64
import json

import pytest
from support.labelled_pictures import LABELS, read_rows, write_labelled_pictures, write_rows

from clip_worker import Client
from clip_worker.contract import LabelSetCalibration
from worker.cli.entry import run
from worker.cli.labels.calibrate import command as calibrating
from worker.cli.labels.calibration_file import CalibrationFile

HEADING = "image,label\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_labelled_pictures(folder)
    return folder


@pytest.fixture
def calibrate(folder, tmp_path, monkeypatch, capsys):
    """Runs `labels calibrate`; the exit status, and the lines of output and errors."""
    monkeypatch.setenv("CLIP_WORKER_MODEL", "demo")
    monkeypatch.setenv("CLIP_WORKER_DEVICE", "cpu")

    def calibrate(*arguments: object, file=folder / "rows.csv", labels=folder / "labels.txt"):
        options = [] if labels is None else ["--labels", str(labels)]
        status = run(["labels", "calibrate", str(file), *options, *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return calibrate


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_a_calibration_is_written_and_measured_on_images_that_were_left_out(
    calibrate, folder, tmp_path, score
):
    # given: every fourth label is wrong, so that the model is too sure of itself
    rows, file, out = read_rows(folder), folder / "noisy.csv", tmp_path / "calibration.json"
    for number, row in enumerate([row for row in rows if row[1]]):
        if number % 4 == 0:
            row[1] = LABELS[(LABELS.index(row[1]) + 1) % 3]
    write_rows(file, rows)
    # when
    status, lines, errors = calibrate("--score", score, "--out", out, file=file)
    # then

    written = CalibrationFile.read(out).calibration
    assert (status, errors) == (0, [])
    assert lines[0] == "Fitted to 60 images for 3 labels, 24 of them without a label."
    assert lines[-2] == "thresholds   for all 3 labels"
    assert lines[-1] == f"Calibration {written.id} is written to {out}."
    assert (written.score, written.rows, written.templates) == (score, 60, ("a photo of a {}.",))
    assert len(written.thresholds) == 3
    assert [lines[3].split()[0], lines[4].split()[0]] == ["calibration", "accuracy,"]
    assert all(0 <= float(number) <= 1 for line in lines[3:7] for number in line.split()[-2:])
    assert written.temperature > 1


def test_the_report_may_be_json(calibrate):
    status, [line], _ = calibrate("--json")

    report = json.loads(line)
    assert status == 0
    assert report["images"] == 60
    assert report["images_without_label"] == 24
    assert report["labels_without_threshold"] == []
    assert 0 <= report["after"]["calibration_error"] <= 1
    assert len(report["calibration"].pop("id")) == 12
    LabelSetCalibration.model_validate(report["calibration"])


def test_rows_may_have_other_columns_and_data_uris_in_any_dialect(calibrate, folder, tmp_path):
    rows = []
    for image, label in read_rows(folder):
        data = base64.b64encode((folder / image).read_bytes()).decode()
        rows.append(["note; or, not", f" {label} ", f"data:image/png;base64,{data}"])
    file = tmp_path / "excel.csv"
    write_rows(file, rows, ["Note", "Label", "Image"], delimiter=";")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    _, [line], _ = calibrate("--json", file=file)
    _, [same], _ = calibrate("--json")

    assert json.loads(line) == json.loads(same)


def test_images_that_cant_be_read_are_listed_and_left_out(calibrate, folder, tmp_path):
    file = folder / "with_bad.csv"
    (folder / "bad.png").write_bytes(b"no image")
    bad = [
        "nowhere.png",
        "bad.png",
        "https://example.com/cat.png",
        "data:image/png;base64,?",
        "a\0b.png",
    ]
    write_rows(file, [*((image, "red circle") for image in bad), *read_rows(folder)])

    status, lines, errors = calibrate(file=file)

    assert status == 0
    assert lines[0].startswith("Fitted to 60 images")
    assert [error.partition(f"{file}, ")[2].partition(":")[0] for error in errors] == [
        f"line {number}" for number in (2, 3, 4, 5, 6)
    ]
    assert "'nowhere.png' can't be read: No such file or directory." in errors[0]
    assert "download it, and name the file" in errors[2]
    status, lines, errors = calibrate("--strict", file=file)
    assert (status, lines, len(errors)) == (2, [], 5)


def test_a_label_with_few_images_gets_no_threshold_and_is_named(calibrate, folder, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join([*LABELS, "pink heart"]))

    status, lines, _ = calibrate(labels=labels)

    assert status == 0
    assert lines[-1] == (
        "thresholds   for 3 of 4 labels; these have fewer than 10 images, or all: 'pink heart' (0)"
    )


def test_of_more_rows_than_are_needed_some_are_taken_at_random(calibrate, monkeypatch):
    monkeypatch.setattr(calibrating, "MOST_IMAGES", 55)

    _, lines, [error] = calibrate()

    assert error == "clip-worker: Takes 55 of the 60 rows, chosen at random."
    assert lines[0].startswith("Fitted to 55 images")


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        (HEADING + "0.png,Red Circle\n", ["line 2: there is no label 'Red Circle'; did you mean"]),
        (HEADING + "0.png,red cirle\n", ["'red cirle'; did you mean 'red circle'?"]),
        (HEADING + "\n0.png,cat\n", ["line 3: there is no label 'cat'; leave it empty for none"]),
        (HEADING + ",red circle\n0.png\n", ["line 2: it has no image", "line 3: it has 1 cells"]),
        (HEADING + "0.png,cat\n" * 7, ["'cat'"] * 5 + ["And 2 more rows are wrong."]),
        (HEADING + "0.png,red circle\n" * 49, ["There are only 49 rows; give at least 50"]),
        ("path,label\n0.png,cat\n", ["is 'path, label'; name the columns, one of them image"]),
        ("", ["is ''; name the columns"]),
        (
            HEADING + "no.png,red circle\n" * 60,
            [*["'no.png'"] * 10, "And 50 more", "There are only 0"],
        ),
    ],
)
def test_rows_that_cant_be_used_are_named(calibrate, tmp_path, content, errors):
    file = tmp_path / "rows.csv"
    file.write_text(content)

    status, lines, found = calibrate(file=file)

    assert (status, lines) == (2, [])
    for error, line in zip(errors, found, strict=True):
        assert error in line


def test_a_file_without_any_right_label_is_refused(calibrate, folder, tmp_path):
    file = folder / "none.csv"
    write_rows(file, [(image, "") for image, _ in read_rows(folder)])

    status, _, [error] = calibrate(file=file)

    assert status == 2
    assert "No image has a right label" in error


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--label-set", "shapes"], "Give --labels FILE or --label-set NAME, and not both."),
        (["--store"], "--store needs --label-set NAME"),
        (["--out", "/nowhere/out.json"], "/nowhere/out.json can't be written"),
        (["--model", "demmo"], "demmo"),
    ],
)
def test_wrong_options_are_refused(calibrate, options, error):
    status, _, errors = calibrate(*options)

    assert status == 2
    assert error in errors[-1]


@pytest.mark.integration
def test_a_calibration_is_stored_with_the_label_set(calibrate, redis_url):
    with Client(redis_url) as client:
        paths = [f"shape > {label}" for label in LABELS]
        before = client.put_label_set("shapes", paths, hierarchical=True)

        status, lines, _ = calibrate(
            "--label-set", "shapes", "--store", "--redis-url", redis_url, labels=None
        )

        stored = client.get_label_set("shapes")
    assert status == 0
    assert stored.calibration is not None
    assert stored.version != before
    assert lines[-1] == (
        f"Calibration {stored.calibration.id} is stored as 'shapes', version {stored.version}."
    )
