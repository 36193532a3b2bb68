"""What is written of answers: the same as JSON lines and as rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from clip_engine.engine import ModelIdentity
from clip_engine.scoring.hierarchy import LabelTree
from clip_engine.scoring.ranking import Level, Ranking
from clip_worker.sinks.record import record_json
from worker.cli.retag.records import RecordWriter
from worker.cli.retag.scorer import Scored
from worker.pipeline.scoring_plan import ScoringPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_worker.sinks.row import Row

MODEL = ModelIdentity("demo", "d" * 64)
PATHS = ("animal > dog", 'animal > "cat"', "grün 🐈")
TREE = LabelTree.of(PATHS)
RANKING = Ranking(
    [[0.7, 1e-7], [0.25, 0.125]],
    [[2, 0], [1, 0]],
    scores=[[0.3, 1e-05], [0.2, -0.1]],
    none_of_these=[0.1, 0.2],
    levels=[[Level([0], [0.5]), Level([1], [0.5])], [Level([1], [0.5]), Level([0], [0.5])]],
)
SCORED = Scored(["a" * 64, "b" * 64], ["s3://x/a.jpg", 'b"\ud83d\0.jpg'], [RANKING], "1")


class Rows:
    """A sink that takes rows only."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def open(self, position: str | None) -> None:
        del position

    def write(self, rows: Sequence[Row]) -> Sequence[Row]:
        self.rows += rows
        return ()

    def commit(self) -> str:
        return ""

    def close(self) -> None:
        pass


class Lines(Rows):
    """One that takes lines, too."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def write_lines(self, lines: Sequence[str]) -> None:
        self.lines += lines


def written(plan: ScoringPlan, threshold: float | None) -> tuple[list[Any], list[Any]]:
    rows, lines = Rows(), Lines()
    for sink in (rows, lines):
        RecordWriter(sink, MODEL, plan, threshold).write(SCORED)
    assert not lines.rows
    return [timeless(record_json(row)) for row in rows.rows], [*map(timeless, lines.lines)]


def timeless(line: str) -> list[tuple[str, Any]]:
    """The record in the order of its keys, without its time."""
    record = json.loads(line)
    assert record.pop("ended_at").endswith("Z")
    return [*record.items()]


def test_lines_are_what_rows_would_have_been() -> None:
    plan = ScoringPlan(
        PATHS, (), tree=TREE, label_set={"name": "pets@3", "version": "v", "calibration": None}
    )

    rows, lines = written(plan, None)

    assert rows == lines
    assert [name for name, _ in lines[0]][:6] == [
        *("key", "image", "status", "label", "probability", "predictions")
    ]


def test_a_threshold_may_leave_no_label() -> None:
    rows, lines = written(ScoringPlan(PATHS, ()), 0.25)

    assert rows == lines
    assert [len(dict(record)["predictions"]) for record in lines] == [1, 0]
    assert "label" not in dict(lines[1])
