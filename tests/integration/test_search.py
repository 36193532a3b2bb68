"""`clip.search`: stored embeddings are found by a text or an image."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import redis
from celery import Celery
from support.image_zoo import photo
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_engine import Engine
from clip_worker import (
    AsyncClient,
    Client,
    ExpiredError,
    ImageUnavailableError,
    InvalidRequestError,
    ServiceError,
    TemporaryError,
)
from clip_worker.contract.keys import DEFAULT_QUEUE
from worker.embeddings.open import open_store
from worker.embeddings.space import space_of
from worker.embeddings.store import Embedding

if TYPE_CHECKING:
    from support.redis_server import RedisServer

    from clip_worker.contract.search import SearchResult

pytestmark = pytest.mark.integration

IMAGES = Path(__file__).parents[2] / "clip_engine" / "demo" / "images"
WAIT_S = 60.0


@pytest.fixture(scope="module")
def files() -> list[Path]:
    return sorted(IMAGES.glob("*.*g"))


@pytest.fixture(scope="module")
def searching(
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    engine: Engine,
    files: list[Path],
) -> Iterator[WorkerProcess]:
    """A worker with a store that has the demo's images."""
    redis_server.client().flushall()
    folder = tmp_path_factory.mktemp("searching")
    space, store = space_of(engine), open_store(redis_server.url)
    features = engine.encode_pixels([engine.prepare(file) for file in files]).numpy()
    store.put(
        space,
        [
            Embedding(hashlib.sha256(file.read_bytes()).hexdigest(), file.name, feature)
            for file, feature in zip(files, features, strict=True)
        ],
    )
    store.close()
    with WorkerProcess(
        redis_server.url, folder, embedding_store=redis_server.url, task_timeout_s="20"
    ) as worker:
        yield worker


@pytest.fixture
def client(searching: WorkerProcess) -> Iterator[Client]:
    with Client(searching.redis) as client:
        yield client


def test_a_text_finds_what_the_engine_ranks_first(
    client: Client, engine: Engine, files: list[Path]
) -> None:
    text = "a red circle"
    features = engine.encode_pixels([engine.prepare(file) for file in files])
    cosines = (features @ engine.labels.get((text,), ("{}",))[0]).numpy()

    found = client.search(text, k=3).get(timeout=WAIT_S)

    best = np.argsort(-cosines)[:3]
    assert [hit.image for hit in found.hits] == [files[i].name for i in best]
    assert [hit.cosine for hit in found.hits] == pytest.approx(cosines[best], abs=1e-3)  # float16
    assert found.model == "demo"
    assert found.model_digest == engine.identity.digest


def test_an_image_finds_itself_first_and_its_upload_is_deleted(
    client: Client, searching: WorkerProcess, files: list[Path]
) -> None:
    uri = client.upload(files[5])

    found = client.search(image=uri, k=2).get(timeout=WAIT_S)

    assert found.hits[0].image == files[5].name
    assert found.hits[0].cosine == pytest.approx(1, abs=1e-3)
    with redis.Redis.from_url(searching.redis) as server:
        wait_until(lambda: not server.keys("clip-worker:upload:*"), lambda: searching.log)


def test_an_upload_is_found_by_its_name(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "new.png"
    photo((80, 60), 7).save(path)
    uri = client.upload(path, name="holidays/new.png")
    assert client.classify(uri, ["a red circle"]).get(timeout=WAIT_S).predictions

    def found() -> set[str]:
        return {hit.image for hit in client.search("a photo", k=100).get(timeout=WAIT_S).hits}

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    wait_until(lambda: f"redis://uploads/{digest}/holidays/new.png" in found(), found)


def test_coroutines_search_too(searching: WorkerProcess) -> None:
    async def search() -> SearchResult:
        async with AsyncClient(searching.redis) as client:
            return await (await client.search("a blue square", k=4)).get(timeout=WAIT_S)

    assert len(asyncio.run(search()).hits) == 4


def test_an_image_that_is_not_there_fails_like_that_of_classify(client: Client) -> None:
    with pytest.raises(ImageUnavailableError, match="not in a folder"):
        client.search(image="file:///etc/hostname").get(timeout=WAIT_S)


def test_a_deadline_that_has_passed_ends_the_search(client: Client) -> None:
    with pytest.raises(ExpiredError):
        client.search("a star", deadline=1.0).get(timeout=WAIT_S)


@pytest.mark.parametrize(
    ("kwargs", "code"),
    [
        ({}, "BAD_QUERY"),
        ({"text": "a", "image": "data:,"}, "BAD_QUERY"),
        ({"text": " "}, "BAD_QUERY"),
        ({"text": "x" * 100_000}, "BAD_QUERY"),
        ({"text": "many words " * 150}, "BAD_QUERY"),  # more tokens than the model takes
        ({"text": 3}, "BAD_QUERY"),
        ({"text": "a", "k": 10**9}, "BAD_K"),
        ({"text": "a", "k": 0}, "BAD_K"),
        ({"text": "a", "k": True}, "BAD_K"),
        ({"text": "a", "surprise": []}, "INVALID_REQUEST"),
        ({"image": "ftp://x/y.jpg"}, "UNSUPPORTED_SCHEME"),
    ],
)
def test_whatever_a_producer_writes_gets_an_answer(
    searching: WorkerProcess, kwargs: dict[str, Any], code: str
) -> None:
    # Without a backend: with one, it would keep a connection that waits for each result.
    app = Celery(broker=searching.redis, set_as_current=False)
    with Client(searching.redis) as client:
        sent = app.send_task("clip.search", kwargs=kwargs, queue=DEFAULT_QUEUE)
        with pytest.raises(InvalidRequestError) as caught:
            client.handle(sent.id).get(timeout=WAIT_S)
    app.close()
    assert caught.value.code == code


def test_a_client_refuses_what_a_worker_would() -> None:
    with Client("redis://localhost:1/0") as client:
        with pytest.raises(InvalidRequestError, match="no text and no image"):
            client.search()
        with pytest.raises(InvalidRequestError, match="1 to 1000"):
            client.search("a star", k=1001)


def test_without_a_store_the_answer_says_what_to_set(running_worker: WorkerProcess) -> None:
    with Client(running_worker.redis) as client, pytest.raises(ServiceError) as caught:
        client.search("a star").get(timeout=WAIT_S)
    assert caught.value.code == "SEARCH_DISABLED"
    assert "CLIP_WORKER_EMBEDDING_STORE" in caught.value.message


def test_a_store_that_is_away_fails_the_search_and_nothing_else(
    server: RedisServer, tmp_path: Path, image: str
) -> None:
    away = "redis://127.0.0.1:1/0"
    with WorkerProcess(server.url, tmp_path, embedding_store=away), Client(server.url) as client:
        with pytest.raises(TemporaryError) as caught:
            client.search("a star").get(timeout=WAIT_S)
        assert client.classify(image, ["red", "blue"]).get(timeout=WAIT_S).predictions
    assert caught.value.code == "EMBEDDING_STORE"
