"""An ensemble's name on the wire, answered by a real worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery
from support.image_zoo import write_zoo
from support.worker_process import WorkerProcess

from clip_engine import Engine
from clip_engine.prompts import ensemble
from clip_worker.errors import InvalidRequestError

pytestmark = pytest.mark.integration

WAIT_S = 60.0
LABELS = ["red circle", "blue square", "green triangle"]


def test_an_ensemble_is_answered_by_its_name_and_an_unknown_one_with_those_that_there_are(
    running_worker: WorkerProcess, tmp_path: Path, plain: Celery, engine: Engine
) -> None:
    # given
    [image] = write_zoo(tmp_path / "zoo", 1, seed=5)
    asked = {"image": image.as_uri(), "labels": LABELS}
    # when
    named, unknown = (
        plain.send_task("clip.classify", kwargs=asked | {"ensemble": name})
        for name in ("imagenet-simple", "imagnet")
    )
    # then
    [expected] = engine.classify([image], LABELS, template=ensemble("imagenet-simple"))
    [by_one] = engine.classify([image], LABELS)
    answers = {one["label"]: one["probability"] for one in named.get(WAIT_S)["predictions"]}
    assert answers == pytest.approx({one.label: one.probability for one in expected}, abs=1e-5)
    assert answers != pytest.approx({one.label: one.probability for one in by_one}, abs=1e-4)
    error = unknown.get(WAIT_S, propagate=False)
    assert type(error) is InvalidRequestError
    assert error.code == "UNKNOWN_ENSEMBLE"
    assert "'imagnet'" in error.message
    assert "photo, imagenet, imagenet-simple" in error.message
