"""A label set that `clip-worker labels calibrate` has calibrated, asked of a real worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.labelled_pictures import LABELS, write_labelled_pictures

from clip_engine.prompts import DEFAULT_TEMPLATE
from clip_engine.scoring.options import Scoring
from worker.cli.entry import run

if TYPE_CHECKING:
    from pathlib import Path

    from support.worker_process import WorkerProcess

    from clip_engine import Engine
    from clip_worker import Client

pytestmark = pytest.mark.integration

WAIT_S = 60.0


def test_calibrated_stored_and_asked(
    running_worker: WorkerProcess,
    client: Client,
    redis_url: str,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given: labels that are stored, and then calibrated, as a user does it
    monkeypatch.setenv("CLIP_WORKER_MODEL", "demo")
    monkeypatch.setenv("CLIP_WORKER_DEVICE", "cpu")
    monkeypatch.setenv("CLIP_WORKER_REDIS_URL", redis_url)
    folder = tmp_path / "pictures"
    write_labelled_pictures(folder)
    name = "calibrated shapes"
    assert run(["labels", "put", name, str(folder / "labels.txt")]) == 0
    fit = ["labels", "calibrate", str(folder / "rows.csv"), "--label-set", name, "--store"]
    assert run(fit) == 0
    stored = client.get_label_set(name)
    calibration = stored.calibration
    assert calibration is not None
    # when: a picture of a label, and one of none
    uris = [(folder / f"{number}.png").as_uri() for number in (0, 3)]
    asked = [client.classify(uri, label_set=name, none_of_these=True, k=3) for uri in uris]
    answers = [handle.get(WAIT_S) for handle in asked]
    other = client.classify(uris[0], label_set=name, template="{}").get(WAIT_S)
    # then: results name the calibration that was applied, and have its probabilities
    scoring = Scoring("softmax", True, calibration.temperature, calibration.none_bias)  # noqa: FBT003
    lists = engine.text_lists(LABELS, (DEFAULT_TEMPLATE,), scoring)
    text = engine.text_features([engine.labels.get(*each) for each in lists])
    images = [engine.prepare(folder / f"{number}.png") for number in (0, 3)]
    expected = engine.rank(engine.encode_pixels(images), text, 1, scoring)
    assert expected.none_of_these is not None
    for answer, none in zip(answers, expected.none_of_these, strict=True):
        assert answer.label_set is not None
        assert answer.label_set.version == stored.version
        assert answer.label_set.calibration == calibration.id
        assert answer.none_of_these == pytest.approx(none, abs=1e-4)
    # and: thresholds keep the right label, and nothing where none is right
    assert [[p.label for p in answer.predictions] for answer in answers] == [["red circle"], []]
    # and: with another template it is not applied
    assert other.label_set is not None
    assert other.label_set.calibration is None
