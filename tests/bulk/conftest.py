"""A client whose Redis is in this process, workers that answer, and what makes runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import fakeredis
import pytest
from support.bulk_runs import AnsweringWorkers, ListFeed, ListSink

from clip_worker import Client
from clip_worker.bulk.failures import FailuresFile
from clip_worker.bulk.journal import Journal
from clip_worker.bulk.run import BulkRun
from clip_worker.bulk.supply import FailedSupply, FeedSupply

SETTINGS = {"input": "uris.txt", "labels": ["cat", "dog"]}

OpenJournal: TypeAlias = Callable[[], AbstractContextManager[Journal]]
Classify: TypeAlias = Callable[..., bool]


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def client(redis: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr("clip_worker.client.parts.connect", lambda *_, **__: redis)
    with Client() as client:
        yield client


@pytest.fixture
def workers(redis: fakeredis.FakeRedis) -> AnsweringWorkers:
    return AnsweringWorkers(redis)


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def journal(tmp_path: Path) -> OpenJournal:
    """Opens the journal of the test's run."""

    @contextmanager
    def journal() -> Iterator[Journal]:
        with Journal(tmp_path / "run.journal", SETTINGS) as journal:
            yield journal

    return journal


@pytest.fixture
def failures(tmp_path: Path) -> Path:
    return tmp_path / "failures.jsonl"


@pytest.fixture
def classify(
    client: Client, workers: AnsweringWorkers, sink: ListSink, journal: OpenJournal, failures: Path
) -> Classify:
    """Runs the test's run, or continues it; `retry` sends what has failed."""

    def classify(feed: ListFeed | None = None, *, retry: str = "", **options: Any) -> bool:
        with journal() as opened:
            run = BulkRun(
                client,
                sink,
                opened,
                FailuresFile(failures),
                options={"labels": ["cat", "dog"]},
                sleep=workers,
                **options,
            )
            if feed is None:
                return run.run(FailedSupply(opened, only_passing=retry == "passing"))
            return run.run(FeedSupply(feed, opened))

    return classify
