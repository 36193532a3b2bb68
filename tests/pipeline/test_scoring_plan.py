"""What a request's images are compared with, and whether a calibration is applied."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_clock import FakeClock
from support.tiny_clip import tiny_engine

from clip_engine.prompts import DEFAULT_TEMPLATE
from clip_engine.scoring.options import SOFTMAX
from clip_worker.contract import LabelSet, LabelSetCalibration, UsedLabelSet
from worker.pipeline.image_task import TaggingRequest
from worker.pipeline.scoring_plan import QUIET_S, ScoringPlanner

if TYPE_CHECKING:
    from clip_engine.engine import Engine

TEMPLATES = ("a {}", "the {}")
PATHS = ("animal > cat", "animal > dog", "car")
DIGEST = "0" * 64  # of the tiny engine
CALIBRATION = LabelSetCalibration(
    temperature=0.5,
    none_bias=-1.0,
    thresholds=(0.5, None),
    model_digest=DIGEST,
    templates=TEMPLATES,
    score="softmax",
    rows=40,
)
SETS = {
    "plain": LabelSet(labels=("cat", "dog")),
    "paths": LabelSet(labels=PATHS, hierarchical=True),
    "calibrated": LabelSet(labels=("cat", "dog"), calibration=CALIBRATION),
    "own": LabelSet(
        labels=("cat", "dog"),
        templates=("own {}",),
        score="sigmoid",
        thresholds=(0.25, None),
        number=3,
    ),
    "both": LabelSet(
        labels=("cat", "dog"),
        calibration=CALIBRATION,
        templates=TEMPLATES,
        thresholds=(0.25, 0.25),
    ),
    "other": LabelSet(
        labels=("cat", "dog"),
        calibration=CALIBRATION.model_copy(update={"model_digest": "1" * 64}),
    ),
}


class Sets:
    def get(self, name: str) -> LabelSet:
        return SETS[name]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(50.0)


@pytest.fixture
def planner(engine: Engine, clock: FakeClock) -> ScoringPlanner:
    return ScoringPlanner(engine, Sets(), clock)


def request(name: str | None = None, **options: Any) -> TaggingRequest:
    labels = () if name else ("cat", "dog")
    fields: dict[str, Any] = {"templates": TEMPLATES, "k": 5, "label_set": name} | options
    return TaggingRequest(labels, **fields)


def test_a_usual_request_needs_its_labels_only(planner: ScoringPlanner) -> None:
    plan = planner.of_labels(request())
    assert (plan.labels, plan.lists) == (("cat", "dog"), ((("cat", "dog"), TEMPLATES),))
    assert plan.scoring is SOFTMAX
    assert (plan.tree, plan.thresholds, plan.label_set) == (None, None, None)


@pytest.mark.parametrize("options", [{"score": "sigmoid"}, {"none_of_these": True}])
def test_equal_scorings_are_one_object_and_need_what_the_engine_says(
    planner: ScoringPlanner, engine: Engine, options: dict[str, Any]
) -> None:
    first, second = (planner.of_labels(request(**options)) for _ in range(2))
    assert first.scoring is second.scoring
    assert first.lists == engine.text_lists(first.labels, TEMPLATES, first.scoring)
    assert len(first.lists) > 1


def test_prompts_of_a_hierarchy_get_the_last_parts_and_results_the_paths(
    planner: ScoringPlanner,
) -> None:
    plan = planner.of_label_set(request("paths"))
    assert plan.labels == PATHS
    assert plan.lists == ((("cat", "dog", "car"), TEMPLATES),)
    assert plan.tree is not None
    assert plan.tree.levels[0] == ("animal", "car")
    # and it is made once
    assert planner.of_label_set(request("paths")).tree is plan.tree


def test_a_result_names_the_set_its_version_and_its_calibration(planner: ScoringPlanner) -> None:
    for name, calibration in (("plain", None), ("calibrated", CALIBRATION.id)):
        named = planner.of_label_set(request(name)).label_set
        assert UsedLabelSet.model_validate(named) == UsedLabelSet(
            name=name, version=SETS[name].version, calibration=calibration
        )


def test_a_calibration_is_applied_to_what_it_was_fitted_for(
    planner: ScoringPlanner, caplog: pytest.LogCaptureFixture
) -> None:
    plan = planner.of_label_set(request("calibrated", none_of_these=True))
    assert plan.thresholds == (0.5, None)
    assert dataclasses.astuple(plan.scoring) == ("softmax", True, 0.5, -1.0)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request("other"), "another model than 'tiny'"),
        (request("calibrated", templates=("a {}",)), "other templates"),
        (request("calibrated", score="cosine"), "for the score 'softmax', not 'cosine'"),
    ],
)
def test_a_calibration_for_something_else_is_not_applied_and_the_log_says_so_once_a_minute(
    planner: ScoringPlanner,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    asked: TaggingRequest,
    reason: str,
) -> None:
    for _ in range(3):
        plan = planner.of_label_set(asked)
        assert plan.label_set is not None
        assert (plan.thresholds, plan.label_set["calibration"]) == (None, None)
        assert (plan.scoring.temperature, plan.scoring.none_bias) == (1.0, 0.0)
    [record] = caplog.records
    assert reason in record.message
    assert f"'{asked.label_set}'" in record.message
    clock.sleep(QUIET_S)
    planner.of_label_set(asked)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(("given", "used"), [((), ("own {}",)), (TEMPLATES, TEMPLATES)])
def test_a_request_gets_the_templates_of_its_label_set_unless_it_gives_its_own(
    planner: ScoringPlanner, given: tuple[str, ...], used: tuple[str, ...]
) -> None:
    assert planner.of_label_set(request("own", templates=given)).lists == ((("cat", "dog"), used),)
    plain = planner.of_label_set(request("plain", templates=())).lists
    assert plain == ((("cat", "dog"), (DEFAULT_TEMPLATE,)),)


def test_the_thresholds_of_a_label_set_count_for_their_score(planner: ScoringPlanner) -> None:
    assert planner.of_label_set(request("own", score="sigmoid")).thresholds == (0.25, None)
    assert planner.of_label_set(request("own")).thresholds is None


def test_a_calibration_that_fits_goes_before_the_thresholds_of_its_label_set(
    planner: ScoringPlanner,
) -> None:
    # given a calibration that was fitted with the templates of the set
    fits = planner.of_label_set(request("both", templates=()))
    assert (fits.thresholds, fits.scoring.temperature) == ((0.5, None), 0.5)
    # and a request with others
    other = planner.of_label_set(request("both", templates=("a {}",)))
    assert (other.thresholds, other.scoring.temperature) == ((0.25, 0.25), 1.0)


@pytest.mark.parametrize("name", ["own", "own@3"])
def test_a_result_names_the_version_that_was_used(engine: Engine, name: str) -> None:
    class OneSet:
        def get(self, _: str) -> LabelSet:
            return SETS["own"]

    named = ScoringPlanner(engine, OneSet()).of_label_set(request(name)).label_set
    assert named is not None
    assert (named["name"], named["version"]) == ("own@3", SETS["own"].version)
