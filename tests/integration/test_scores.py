"""Scores, "none of these", hierarchies and calibrations, answered by a real worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from support.image_zoo import write_zoo
from support.worker_process import WorkerProcess

from clip_engine import Engine
from clip_engine.prompts import DEFAULT_TEMPLATE
from clip_engine.scoring.options import SCORES, Score, Scoring
from clip_engine.scoring.ranking import Ranking
from clip_worker import Client
from clip_worker.client.image_chunks import decode_outcomes
from clip_worker.contract import Classification, LabelSetCalibration
from clip_worker.contract.option_types import PROBABILITIES

pytestmark = pytest.mark.integration

WAIT_S = 60.0
LABELS = ("red circle", "blue square", "green star")
PATHS = ("round > red circle", "square > blue square", "round > ring", "green star")
TEMPLATES = (DEFAULT_TEMPLATE,)
TOLERANCE = 1e-5  # batches of other sizes may differ in the last bits of a float32

Ask = Callable[..., Classification]


@pytest.fixture
def image(running_worker: WorkerProcess, tmp_path: Path) -> Path:
    [image] = write_zoo(tmp_path / "zoo", 1, seed=5)
    return image


@pytest.fixture(params=["client", "many", "celery"])
def ask(request: pytest.FixtureRequest, client: Client, plain: Celery, image: Path) -> Ask:
    """Ask about the image: on our own queue path, with others in a message, or through Celery."""
    uri = image.as_uri()

    def by_client(**options: Any) -> Classification:
        return client.classify(uri, **options).get(WAIT_S)

    def by_celery(**options: Any) -> Classification:
        sent = plain.send_task("clip.classify", kwargs={"image": uri} | options, time_limit=60)
        return Classification.model_validate(sent.get(timeout=WAIT_S))

    def with_others(**options: Any) -> Classification:
        asked = {"images": [uri] * 2} | options
        sent = plain.send_task("clip.classify_many", kwargs=asked, time_limit=60)
        one, other = decode_outcomes(sent.get(timeout=WAIT_S))
        assert one.result is not None
        assert other.result is not None
        # A ResNet's last bits depend on how many forward passes share the cores.
        assert [p.index for p in one.result.predictions] == [
            p.index for p in other.result.predictions
        ]
        assert [p.probability for p in one.result.predictions] == pytest.approx(
            [p.probability for p in other.result.predictions], abs=TOLERANCE
        )
        return one.result

    return {"client": by_client, "celery": by_celery, "many": with_others}[request.param]


def alone(engine: Engine, image: Path, labels: Sequence[str], scoring: Scoring) -> Ranking:
    """What the engine says for the image by itself, about all labels."""
    lists = engine.text_lists(labels, TEMPLATES, scoring)
    text = engine.text_features([engine.labels.get(*each) for each in lists])
    features = engine.encode_pixels([engine.prepare(image)])
    return engine.rank(features, text, len(labels), scoring)


@pytest.mark.parametrize("score", SCORES)
def test_each_score_is_the_engines(ask: Ask, engine: Engine, image: Path, score: Score) -> None:
    [expected] = engine.classify([image], LABELS, score=score, none_of_these=True)
    *labels, none = expected
    # when
    answer = ask(labels=LABELS, score=score, none_of_these=True)
    # then
    assert [p.index for p in answer.predictions] == [p.index for p in labels]
    assert [p.probability for p in answer.predictions] == pytest.approx(
        [p.probability for p in labels], abs=TOLERANCE
    )
    assert answer.none_of_these == pytest.approx(none.probability, abs=TOLERANCE)
    scores = [p.score for p in labels if p.score is not None]
    assert len(scores) == (0 if score in PROBABILITIES else len(LABELS))
    assert [p.score for p in answer.predictions if p.score is not None] == pytest.approx(
        scores, rel=TOLERANCE, abs=TOLERANCE
    )
    assert (answer.label_set, answer.levels) == (None, None)
    # and a threshold counts on this scale
    first, second = (p.probability if p.score is None else p.score for p in answer.predictions[:2])
    kept = ask(labels=LABELS, score=score, none_of_these=True, threshold=(first + second) / 2)
    assert [p.index for p in kept.predictions] == [answer.predictions[0].index]


def test_the_levels_of_a_hierarchy_sum_up(ask: Ask, client: Client, engine: Engine) -> None:
    version = client.put_label_set("levels", PATHS, hierarchical=True)
    stored = client.get_label_set("levels")
    assert (stored.labels, stored.version) == (PATHS, version)
    # when
    answer = ask(label_set="levels")
    # then
    assert answer.label_set is not None
    assert answer.label_set.model_dump() == {
        "name": "levels@1",
        "version": version,
        "calibration": None,
    }
    assert answer.levels is not None
    broad, narrow = answer.levels
    leaves = {p.label: p.probability for p in answer.predictions}
    assert leaves.keys() == set(PATHS)
    assert {node.label for node in broad} == {"round", "square", "green star"}
    for node in broad:
        below = [leaves[path] for path in PATHS if path.split(" > ")[0] == node.label]
        assert node.probability == pytest.approx(sum(below), abs=TOLERANCE)
    assert {node.label: node.probability for node in narrow} == pytest.approx(
        {path: leaves[path] for path in PATHS if ">" in path}, abs=TOLERANCE
    )


def test_a_calibration_is_applied_and_named(
    ask: Ask, client: Client, engine: Engine, image: Path
) -> None:
    # given one whose thresholds only the second best label reaches
    scoring = Scoring("softmax", none_of_these=True, temperature=3.0, none_bias=1.0)
    ranking = alone(engine, image, LABELS, scoring)
    second = ranking.indices[0][1]
    thresholds = [1.0] * len(LABELS)
    thresholds[second] = ranking.probabilities[0][1] - TOLERANCE
    calibration = LabelSetCalibration(
        temperature=3.0,
        none_bias=1.0,
        thresholds=tuple(thresholds),
        model_digest=engine.identity.digest,
        templates=TEMPLATES,
        score="softmax",
        rows=40,
    )
    version = client.put_label_set("calibrated", LABELS, calibration=calibration)
    # when
    answer = ask(label_set="calibrated", none_of_these=True)
    # then
    [found] = answer.predictions
    assert found.index == second
    assert found.probability == pytest.approx(ranking.probabilities[0][1], abs=TOLERANCE)
    assert ranking.none_of_these is not None
    assert answer.none_of_these == pytest.approx(ranking.none_of_these[0], abs=TOLERANCE)
    assert answer.label_set is not None
    assert (answer.label_set.version, answer.label_set.calibration) == (version, calibration.id)


def test_a_calibration_of_another_model_is_not_applied_and_the_log_says_so(
    client: Client, engine: Engine, image: Path, running_worker: WorkerProcess
) -> None:
    calibration = LabelSetCalibration(
        temperature=3.0, model_digest="0" * 64, templates=TEMPLATES, score="softmax", rows=40
    )
    client.put_label_set("of another model", LABELS, calibration=calibration)
    # when
    answer = client.classify(image.as_uri(), label_set="of another model").get(WAIT_S)
    # then
    assert answer.label_set is not None
    assert answer.label_set.calibration is None
    [expected] = engine.classify([image], LABELS)
    assert [p.probability for p in answer.predictions] == pytest.approx(
        [p.probability for p in expected], abs=TOLERANCE
    )
    running_worker.wait_for_log("The calibration of the label set 'of another model'")
