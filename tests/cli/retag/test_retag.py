"""`clip-worker retag`: answers for stored embeddings."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from cli.retag.conftest import put_random
from support.waiting import wait_until

from clip_engine.scoring.options import Scoring
from worker.cli.entry import run
from worker.cli.retag.command import _settings
from worker.embeddings.open import open_store
from worker.embeddings.space import space_of
from worker.embeddings.store import Embedding
from worker.pipeline.scoring_plan import ScoringPlan

if TYPE_CHECKING:
    from clip_engine import Engine

LABELS = ["red circle", "blue square", "green star", "yellow heart"]


def retag(store: str, target: Path, *more: str) -> int:
    labels = [] if "--label-set" in more else ["--labels", ",".join(LABELS)]
    return run(["retag", "--store", store, "--model", "demo", "--to", str(target), *labels, *more])


def lines(target: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in target.read_text().splitlines()]


def test_the_answers_are_those_of_the_engine(
    lance_url: str, tmp_path: Path, engine: Engine
) -> None:
    stored, target = put_random(lance_url, engine, 700), tmp_path / "answers.jsonl"

    assert retag(lance_url, target, "-k", "3", "--score", "cosine", "--none-of-these") == 0

    scoring = Scoring("cosine", none_of_these=True)
    lists = engine.text_lists(LABELS, ("a photo of a {}.",), scoring)
    text = engine.text_features([engine.labels.get(*each) for each in lists])
    found = lines(target)
    features = torch.tensor(np.stack([stored[each["key"]].feature for each in found]))
    features /= features.norm(dim=1, keepdim=True)
    ranking = engine.rank(features, text, 3, scoring)
    assert [each["key"] for each in found] == list(dict.fromkeys(each["key"] for each in found))
    assert ranking.scores
    assert ranking.none_of_these
    for row, each in enumerate(found):
        assert each["image"] == stored[each["key"]].image
        assert [one["index"] for one in each["predictions"]] == ranking.indices[row]
        assert [one["label"] for one in each["predictions"]] == [
            LABELS[index] for index in ranking.indices[row]
        ]
        for name, expected in (
            ("score", ranking.scores[row]),
            ("probability", ranking.probabilities[row]),
        ):
            got = [one[name] for one in each["predictions"]]
            assert got == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert each["none_of_these"] == pytest.approx(ranking.none_of_these[row], rel=1e-4)
    assert len(found) == 700


def test_a_run_that_is_complete_does_nothing_again(
    lance_url: str, tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    put_random(lance_url, engine, 50)
    target = tmp_path / "answers.jsonl"
    retag(lance_url, target)
    written = target.read_bytes()

    assert retag(lance_url, target) == 0

    assert target.read_bytes() == written
    assert "50 images have their answers" in capsys.readouterr().err


def test_another_question_with_the_same_journal_is_refused(
    lance_url: str, tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    put_random(lance_url, engine, 5)
    target = tmp_path / "answers.jsonl"
    retag(lance_url, target)

    assert retag(lance_url, target, "-k", "2") == 2

    assert "was begun with k 5, and now it is 2" in capsys.readouterr().err


def test_a_label_set_with_another_calibration_is_another_request() -> None:
    plan = ScoringPlan(tuple(LABELS), (), label_set={"name": "shapes@1", "version": "a"})
    other = replace(plan, label_set={"name": "shapes@1", "version": "b"})

    assert _settings(plan, {"k": 5}) == _settings(replace(plan), {"k": 5})
    assert _settings(plan, {"k": 5}) != _settings(other, {"k": 5})


def test_a_store_without_the_models_embeddings_is_named(
    lance_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retag(lance_url, tmp_path / "answers.jsonl") == 2
    assert "no embeddings of the model 'demo'" in capsys.readouterr().err


def test_a_damaged_embedding_is_left_out(lance_url: str, tmp_path: Path, engine: Engine) -> None:
    stored = put_random(lance_url, engine, 20)
    space, store = space_of(engine), open_store(lance_url)
    damaged = [
        Embedding("1" * 64, "long", np.full(space.dimensions, 9, np.float32)),
        Embedding("2" * 64, "zero", np.zeros(space.dimensions, np.float32)),
    ]
    store.put(space, damaged)
    store.close()
    target = tmp_path / "answers.jsonl"

    assert retag(lance_url, target) == 0

    assert {each["key"] for each in lines(target)} == set(stored)


def test_rows_of_a_database_say_the_same(lance_url: str, tmp_path: Path, engine: Engine) -> None:
    import sqlite3

    put_random(lance_url, engine, 30)
    retag(lance_url, tmp_path / "answers.jsonl")
    database = tmp_path / "answers.db"
    more = ("--journal", str(tmp_path / "journal"))

    labels = ["--labels", ",".join(LABELS)]
    arguments = ["retag", "--store", lance_url, "--model", "demo", *labels, *more]
    assert run([*arguments, "--to", f"sqlite:///{database}"]) == 0

    with sqlite3.connect(database) as opened:
        rows = opened.execute("SELECT key, label FROM clip_results").fetchall()
    opened.close()
    assert dict(rows) == {each["key"]: each["label"] for each in lines(tmp_path / "answers.jsonl")}


def test_a_database_needs_a_journal(lance_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["retag", "--store", lance_url, "--to", "sqlite:///x.db", "--labels", "a,b"]
    assert run(arguments) == 2
    assert "--journal FILE" in capsys.readouterr().err


def test_a_label_that_is_too_long_is_one_sentence(
    lance_url: str, tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    put_random(lance_url, engine, 5)
    target = tmp_path / "answers.jsonl"

    arguments = ["retag", "--store", lance_url, "--model", "demo", "--to", str(target)]
    assert run([*arguments, "--labels", "many words " * 100]) == 2

    assert "tokens" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["answers.jsonl", "answers.parquet"])
def test_a_run_that_is_killed_writes_each_row_once(
    lance_url: str, tmp_path: Path, engine: Engine, name: str
) -> None:
    stored, target = put_random(lance_url, engine, 40_000), tmp_path / name
    command = [sys.executable, "-m", "worker.cli", "retag", "--store", lance_url, "--to"]
    command += [str(target), "--model", "demo", "--labels", ",".join(LABELS)]
    rng, kills = random.Random(1), 0

    while True:
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        if kills < 4:
            _wait_for_some(target, rng.randrange(8_000_000) if kills else 1, process)
            kills += process.poll() is None
            process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -9, errors.decode()

    keys = [each["key"] for each in _records(target)]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(stored)
    assert kills


def _wait_for_some(target: Path, size: int, process: subprocess.Popen[bytes]) -> None:
    def is_there() -> bool:
        files = target.rglob("*") if target.is_dir() else [target]
        found = sum(file.stat().st_size for file in files if file.exists())
        return found >= size or process.poll() is not None

    wait_until(is_there, lambda: f"{target} did not grow to {size} bytes")


def _records(target: Path) -> list[dict[str, Any]]:
    if target.suffix == ".jsonl":
        return lines(target)
    import pyarrow.parquet as pq

    return list(pq.read_table(target, columns=["key", "label"]).to_pylist())
