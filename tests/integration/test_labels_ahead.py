"""An idle worker encodes the labels of a stored set before a task asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.ports import free_port
from support.scrape import scraped
from support.waiting import LIMIT_S, wait_until
from support.worker_process import WorkerProcess

from worker.cli.entry import run

if TYPE_CHECKING:
    from pathlib import Path

    from clip_engine import Engine
    from clip_worker import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = [f"thing number {number}" for number in range(100)]  # more than are encoded at a time
MORE = ["red", "blue", "green"]


def put(folder: Path, redis_url: str, labels: list[str]) -> None:
    """Store a version of the label set `things`, as an operator does."""
    (folder / "things.txt").write_text("\n".join(labels))
    file = str(folder / "things.txt")
    assert run(["labels", "put", "things", file, "--redis-url", redis_url]) == 0


def test_a_set_that_is_stored_while_a_worker_is_idle_costs_the_first_task_no_text(
    redis_url: str, client: Client, tmp_path: Path, image: str, image_file: Path, engine: Engine
) -> None:
    port = free_port()

    def encoded() -> float:
        return scraped(port)[("clip_worker_texts_encoded_total",)]

    # given a worker that has had no task
    with WorkerProcess(redis_url, tmp_path, metrics_port=str(port), metrics_address="127.0.0.1"):
        assert encoded() == 0
        # when a set is stored, then its labels are encoded without a task
        put(tmp_path, redis_url, LABELS)
        wait_until(lambda: encoded() == len(LABELS), lambda: f"{encoded()} texts")
        # and of a version that comes right after it those that are new
        put(tmp_path, redis_url, [*LABELS, *MORE])
        wait_until(lambda: encoded() == len(LABELS) + len(MORE), lambda: f"{encoded()} texts")
        # and a task that names the set encodes none
        answer = client.classify(image, label_set="things", k=1).get(LIMIT_S)
        assert encoded() == len(LABELS) + len(MORE)
        # while one with other labels does
        client.classify(image, ["cat", "dog"]).get(LIMIT_S)
        assert encoded() == len(LABELS) + len(MORE) + 2
    # and the answer is that of a model that has encoded all by itself
    assert answer.label_set is not None
    assert answer.label_set.name == "things@2"
    (expected,) = engine.classify([image_file], [*LABELS, *MORE], k=1)[0]
    assert answer.predictions[0].label == expected.label
    assert answer.predictions[0].probability == pytest.approx(expected.probability, abs=1e-5)
