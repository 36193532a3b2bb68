"""A run that is cut off continues, and each embedding has one answer in the end."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from clip_engine.scoring.text_features import TextFeatures
from clip_worker.bulk.journal import Journal
from clip_worker.sinks.open import open_sink
from worker.cli.retag.records import RecordWriter
from worker.cli.retag.run import RetagRun
from worker.cli.retag.scorer import Scorer
from worker.embeddings.store import EmbeddingBatch, Space
from worker.pipeline.scoring_plan import ScoringPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_engine import Engine
    from clip_worker.bulk.progress import Progress

SPACE = Space("a" * 64, "v1", 8)
COUNT, AT_A_TIME = 1000, 60
LABELS = ("cat", "dog", "car")


class CutOffError(Exception):
    """What ends a run in the middle."""


class Store:
    """Embeddings in memory; of an `EmbeddingStore` only what a run needs."""

    def __init__(self) -> None:
        generator = np.random.default_rng(3)
        features = generator.standard_normal((COUNT, SPACE.dimensions)).astype(np.float32)
        self._features = features / np.linalg.norm(features, axis=1, keepdims=True)
        self.contents = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(COUNT)]

    def count(self, space: Space) -> int:
        assert space == SPACE
        return COUNT

    def scan(self, space: Space, position: str | None, size: int) -> Iterator[EmbeddingBatch]:
        assert space == SPACE
        assert size
        for begin in range(int(position or 0), COUNT, AT_A_TIME):
            contents = self.contents[begin : begin + AT_A_TIME]
            features = self._features[begin : begin + AT_A_TIME]
            yield EmbeddingBatch(contents, contents, features, str(begin + len(contents)))


def run_once(store: Store, engine: Engine, target: Path, *, commit_s: float, cut_at: int) -> int:
    """Run until so many batches are written; how many answers the journal has."""
    import torch

    plan = ScoringPlan(LABELS, ())
    text = TextFeatures(torch.nn.functional.normalize(torch.eye(3, SPACE.dimensions) + 0.1))
    sink, batches = open_sink(str(target)), iter(range(cut_at))

    def cut_off(progress: Progress) -> None:
        assert progress.total == COUNT
        if next(batches, None) is None:
            raise CutOffError

    with Journal(target.with_name("journal"), {}) as journal:
        run = RetagRun(
            store,  # type: ignore[arg-type]  # it can't store
            SPACE,
            scorer=Scorer(engine, plan, text, k=2, threads=2),
            writer=RecordWriter(sink, engine.identity, plan, None),
            sink=sink,
            journal=journal,
            on_progress=cut_off,
            commit_s=commit_s,
        )
        try:
            run.run()
        except CutOffError:
            assert not journal.is_complete
        return journal.done


def keys_in(target: Path) -> list[str]:
    if target.suffix == ".jsonl":
        return [json.loads(line)["key"] for line in target.read_text().splitlines()]
    import pyarrow.parquet as pq

    found: list[str] = pq.read_table(target, columns=["key"])["key"].to_pylist()
    return found


@pytest.mark.parametrize("commit_s", [0.0, 1e9])
@pytest.mark.parametrize("name", ["answers.jsonl", "answers.parquet"])
def test_a_run_that_is_cut_off_answers_for_each_embedding_once(
    tmp_path: Path, engine: Engine, name: str, commit_s: float
) -> None:
    store, target = Store(), tmp_path / name

    for cut_at in (0, 2, 5):
        assert run_once(store, engine, target, commit_s=commit_s, cut_at=cut_at) < COUNT
    done = run_once(store, engine, target, commit_s=commit_s, cut_at=COUNT)

    assert done == COUNT
    assert keys_in(target) == store.contents
    assert run_once(store, engine, target, commit_s=commit_s, cut_at=0) == COUNT  # does nothing
