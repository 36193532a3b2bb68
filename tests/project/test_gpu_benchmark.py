"""The script for GPUs: how it isolates sections and sums up; and a whole run on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support import gpu_sections

from benchmarks.gpu import faults
from benchmarks.gpu.checkpoints import TINY, openai_state
from benchmarks.gpu.correctness import check_features
from benchmarks.gpu.engines import load, variant
from benchmarks.gpu.isolation import COMPLETE, CUT_SHORT, FAILED, SKIPPED, Outcome, run_isolated
from benchmarks.gpu.rankings import is_same_ranking
from benchmarks.gpu.report import Options, Report
from benchmarks.gpu.results import Results
from benchmarks.gpu.run import SECTIONS
from clip_engine.model import build_model
from clip_engine.scoring.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
RIGHT = {"what": "right", "passed": True, "found": "1.0"}
WRONG = {"what": "wrong", "passed": False, "found": "0.5"}


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options("cpu", quick=True, folder=tmp_path, limit_s=60.0)


@pytest.mark.parametrize(
    ("section", "status", "reason"),
    [
        (gpu_sections.complete, COMPLETE, ""),
        (gpu_sections.raises, FAILED, "ValueError: no such kernel"),
        (gpu_sections.crashes, FAILED, "its process ended with status 11"),
    ],
)
def test_what_a_section_found_before_its_end_is_kept(
    options: Options, section: Callable[[Options, Report], None], status: str, reason: str
) -> None:
    lines: list[str] = []
    outcome = run_isolated(section, options, lines.append)
    assert (outcome.status, outcome.reason) == (status, reason)
    assert lines[0] == "on cpu"
    assert outcome.figures == {"rate": 2.5}
    assert outcome.rows == [("rate", "2.5 images/s")]
    assert outcome.checks == [RIGHT]
    assert outcome.warnings == ["half of it"]


@pytest.mark.slow  # it has to take longer than a busy machine needs to start a process
def test_a_section_that_hangs_is_cut_short_and_keeps_its_figures(options: Options) -> None:
    outcome = run_isolated(gpu_sections.hangs, replace(options, limit_s=15.0), lambda _: None)
    assert (outcome.status, outcome.reason) == (CUT_SHORT, "it took longer than its 15 s")
    assert outcome.figures == {"rate": 2.5}


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (gpu_sections.needs_redis, "there is no redis-server"),
        (gpu_sections.needs_a_package, "No module named 'psutil'"),
    ],
)
def test_a_section_that_cannot_run_here_is_skipped(
    options: Options, section: Callable[[Options, Report], None], reason: str
) -> None:
    outcome = run_isolated(section, options, lambda _: None)
    assert outcome.status == SKIPPED
    assert outcome.reason.startswith(reason)


def test_nothing_new_is_begun_when_a_sections_time_is_nearly_over() -> None:
    # given a section of 100 s
    now = 0.0
    events: list[tuple[str, Any]] = []
    report = Report(events.append, 100.0, lambda: now)
    # then the last 15 are for what it has begun
    now = 60.0
    assert report.has_time("a", 25.0)
    assert events == []
    assert not report.has_time("b", 26.0)
    assert ("left_out", "b") in events


@pytest.mark.parametrize(
    ("sections", "passed"),
    [
        ({"correctness": Outcome(COMPLETE, checks=[RIGHT]), "faults": Outcome(CUT_SHORT)}, True),
        ({"end-to-end": Outcome(SKIPPED)}, True),
        ({"correctness": Outcome(COMPLETE, checks=[RIGHT, WRONG])}, False),
        ({"faults": Outcome(COMPLETE, checks=[WRONG])}, False),
        ({"encoder": Outcome(FAILED)}, False),
        ({"correctness": Outcome(CUT_SHORT, checks=[RIGHT])}, False),
        ({"correctness": Outcome(SKIPPED)}, False),
        ({"correctness": Outcome(COMPLETE, checks=[RIGHT], left_out=["RN50"])}, False),
    ],
)
def test_a_run_passes_if_no_check_failed_and_correctness_was_checked_whole(
    sections: dict[str, Outcome], *, passed: bool
) -> None:
    assert Results({}, sections=sections).passed == passed


def test_the_file_has_every_section_so_far_and_the_table_says_how_each_ended(
    tmp_path: Path,
) -> None:
    path = tmp_path / "found.json"
    results = Results({"device": "cuda"}, path)
    results.add("encoder", Outcome(CUT_SHORT, "it took longer than its 9 s", rows=[("a", "1/s")]))
    assert list(json.loads(path.read_text())["sections"]) == ["encoder"]
    results.add("faults", Outcome(COMPLETE, checks=[RIGHT, WRONG], warnings=["half", "quarter"]))
    written = json.loads(path.read_text())
    assert list(written["sections"]) == ["encoder", "faults"]
    assert (written["device"], written["passed"]) == ("cuda", False)
    assert results.table().splitlines()[2:] == [
        "| encoder | a | 1/s |",
        "| encoder | CUT SHORT | it took longer than its 9 s |",
        "| faults | checks | 1 of 2 passed; FAILED: wrong |",
        "| faults | warnings | 2, the first: half |",
    ]


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (torch.eye(3), True),
        (torch.eye(3)[[1, 0, 2]], False),  # rows of other images
        (torch.full((3, 3), float("nan")), False),
        (torch.nn.functional.normalize(torch.eye(3) + 0.02, dim=-1), False),
        (torch.nn.functional.normalize(torch.eye(3) + 0.001, dim=-1), True),
    ],
)
def test_features_pass_if_each_is_near_its_own_image(found: torch.Tensor, *, passed: bool) -> None:
    events: list[tuple[str, Any]] = []
    check_features("features", found, torch.eye(3), Report(events.append, 60.0))
    [check] = [fact for kind, fact in events if kind == "check"]
    assert check["passed"] == passed


def test_a_feature_that_is_nearest_to_another_image_fails_however_close_all_are() -> None:
    # given features as random weights give them, all alike
    expected = torch.nn.functional.normalize(torch.ones(3, 3) + 0.001 * torch.eye(3), dim=-1)
    events: list[tuple[str, Any]] = []
    check_features("features", expected[[1, 2, 0]], expected, Report(events.append, 60.0))
    [check] = [fact for kind, fact in events if kind == "check"]
    assert not check["passed"]


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ({"cat": 0.6, "dog": 0.3}, True),
        ({"cat": 0.6, "cow": 0.3}, False),
        ({"dog": 0.6, "cat": 0.3}, False),
    ],
)
def test_rankings_are_the_same_label_by_label(found: dict[str, float], *, same: bool) -> None:
    expected = predictions({"cat": 0.6, "dog": 0.3})
    assert is_same_ranking(predictions(found), expected) == same


def test_labels_that_are_all_but_tied_may_swap() -> None:
    expected = predictions({"cat": 0.6, "dog": 0.2001, "cow": 0.1999})
    assert is_same_ranking(predictions({"cat": 0.6, "cow": 0.2, "dog": 0.2}), expected)


def predictions(chances: dict[str, float]) -> list[Prediction]:
    return [Prediction(label, chance, i) for i, (label, chance) in enumerate(chances.items())]


@pytest.mark.parametrize("name", TINY)
def test_a_checkpoint_is_one_of_openais_layout_and_keeps_activations_alive(name: str) -> None:
    config = TINY[name]
    model = build_model(openai_state(config))
    assert model.config == config
    side = config.image_resolution
    pixels = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    features = model.encode_image(pixels)
    assert features.isfinite().all()
    assert features.std(dim=0).min() > 0  # each image has its own


def test_running_out_of_memory_is_provoked_by_a_limit_that_is_lifted_again(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a device of 1 GiB, half of it in use, whose batches above 2 don't fit once it is limited
    limits = [1.0]

    def limit(fraction: float, device: int) -> None:
        assert type(device) is int  # torch takes no name here
        limits.append(fraction)

    def fail(pixels: torch.Tensor) -> None:
        if limits[-1] < 1 and len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**29, 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2**29)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limit)
    loaded = load(faults.NAME, options)
    engine = variant(loaded, model=faults.FailingEncoder(loaded.model, fail))
    events: list[tuple[str, Any]] = []
    # when
    faults.check_memory(engine, options, Report(events.append, 60.0))
    # then
    assert limits == [1.0, 0.75, 1.0]
    checks = [fact for kind, fact in events if kind == "check"]
    assert [check["passed"] for check in checks] == [True, True]
    assert checks[0]["found"].startswith("the limit fell from 8 to 2; ")


@pytest.mark.integration
@pytest.mark.slow
def test_a_quick_run_without_a_gpu_goes_through_every_section(tmp_path: Path) -> None:
    # when it is started by its path, as the page says
    path = tmp_path / "found.json"
    script = ROOT / "benchmarks" / "gpu" / "run.py"
    command = [sys.executable, str(script), "--device", "cpu", "--quick", "--json", str(path)]
    command += ["--minutes", "12"]  # on a busy machine it takes long just to import torch
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # other tests want the cores too
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    # then
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    written = json.loads(path.read_text())
    assert written["passed"]
    assert {name: one["status"] for name, one in written["sections"].items()} == dict.fromkeys(
        SECTIONS, COMPLETE
    )
    assert all(one["left_out"] == [] for one in written["sections"].values())
    assert all(one["figures"] or one["checks"] for one in written["sections"].values())
    assert {name: len(one["checks"]) for name, one in written["sections"].items()} == {
        **dict.fromkeys(SECTIONS, 0),
        "correctness": 11,
        "faults": 3,
    }
    table = done.stdout[done.stdout.index("| section |") :].splitlines()
    assert {line.split(" | ")[0].removeprefix("| ") for line in table[2:]} == set(SECTIONS)
    served = written["sections"]["end-to-end"]["figures"]
    rounds = [one for name, one in served.items() if not name.endswith("start")]
    assert [len(one["model_s"]) for one in rounds] == [1, 1, 2]
    assert all(one["images_per_s"] > 0 and one["batch"] >= 1 for one in rounds)
