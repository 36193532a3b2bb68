"""Embeddings in Redis: what is stored is found, by all who share it, and within the budget."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.failure import code_of, failure_of

from clip_worker.errors import TemporaryError
from clip_worker.redis.url import connect
from worker.cli.demo.redis_server import find_free_port
from worker.embeddings.open import open_store
from worker.embeddings.redis_store import RedisStore
from worker.embeddings.store import Embedding, EmbeddingBatch, Space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer

pytestmark = pytest.mark.integration

D = 64
SPACE = Space("a" * 64, "shortest 224 bicubic, fast", D)
FLOAT16 = 1e-3  # tolerance of a cosine


def embedding(number: int, dimensions: int = D) -> Embedding:
    feature = np.random.default_rng(number).normal(size=dimensions).astype(np.float32)
    content = hashlib.sha256(str(number).encode()).hexdigest()
    return Embedding(content, f"https://example.com/{number}", feature / np.linalg.norm(feature))


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    with connect(redis_url) as redis:
        yield RedisStore(redis)


def test_what_is_stored_is_found_within_the_precision_of_float16(store: RedisStore) -> None:
    stored = [embedding(n) for n in range(2000)]
    store.put(SPACE, stored)

    absent = "0" * 64
    found = store.get(SPACE, [*(each.content for each in stored), absent])

    assert found.keys() == {each.content for each in stored}
    for each in stored:
        assert found[each.content].dtype == np.float32
        assert np.dot(found[each.content], each.feature) == pytest.approx(1.0, abs=FLOAT16)
        assert np.linalg.norm(found[each.content]) == pytest.approx(1.0, abs=1e-6)
    assert store.count(SPACE) == 2000


def test_another_model_preprocessing_or_size_shares_nothing(store: RedisStore) -> None:
    store.put(SPACE, [embedding(1)])
    others = [
        replace(SPACE, model_digest="b" * 64),
        replace(SPACE, preprocessing="shortest 224 bicubic, exact"),
        replace(SPACE, dimensions=32),
    ]
    for other in others:
        assert not store.get(other, [embedding(1).content])
        assert store.count(other) == 0
    assert store.spaces() == [SPACE]
    store.put(others[0], [embedding(2)])
    assert set(store.spaces()) == {SPACE, others[0]}


def test_the_last_embedding_of_a_content_stays(store: RedisStore) -> None:
    old, new = embedding(1), embedding(2)._replace(content=embedding(1).content)
    store.put(SPACE, [old, new])
    store.put(SPACE, [new])
    [batch] = store.scan(SPACE)
    assert (batch.contents, batch.images) == ([old.content], [new.image])
    assert np.dot(batch.features[0], new.feature) == pytest.approx(1.0, abs=FLOAT16)


def test_a_scan_yields_everything_and_continues_at_any_position(store: RedisStore) -> None:
    stored = {each.content: each for each in map(embedding, range(3000))}
    store.put(SPACE, list(stored.values()))

    batches = list(store.scan(SPACE, size=500))

    assert len(batches) > 4
    assert contents(batches) == set(stored)
    for batch in batches:
        assert batch.features.shape == (len(batch.contents), D)
        for content, image in zip(batch.contents, batch.images, strict=True):
            assert image == stored[content].image
    for i, batch in enumerate(batches):
        rest = contents(list(store.scan(SPACE, batch.position, size=500)))
        assert rest >= contents(batches[i + 1 :]) - contents(batches[: i + 1])
    assert not list(store.scan(SPACE, batches[-1].position))


def contents(batches: list[EmbeddingBatch]) -> set[str]:
    return {content for batch in batches for content in batch.contents}


@pytest.mark.parametrize("position", ["-1", "257", "x", "", "²"])
def test_a_wrong_position_is_refused(store: RedisStore, position: str) -> None:
    assert code_of(lambda: list(store.scan(SPACE, position))) == "BAD_POSITION"


def test_a_search_finds_the_nearest_as_numpy_does(store: RedisStore) -> None:
    stored = [embedding(n) for n in range(500)]
    store.put(SPACE, stored)
    query = embedding(1000).feature
    cosines = np.stack([each.feature for each in stored]) @ query
    order = np.argsort(-cosines)

    hits = store.search(SPACE, query, 10)

    assert [hit.image for hit in hits][:3] == [stored[i].image for i in order[:3]]
    assert [hit.cosine for hit in hits] == pytest.approx(sorted(cosines)[:-11:-1], abs=FLOAT16)
    assert len(store.search(SPACE, query, 1000)) == 500


def test_the_budget_holds_and_what_was_not_used_for_longest_goes(redis_url: str) -> None:
    with connect(redis_url) as redis:
        now = [0.0]
        store = RedisStore(redis, 1_000_000, now=lambda: now[0])
        used = embedding(0)
        store.put(SPACE, [used])
        for step in range(1, 40):
            now[0] = step
            store.put(SPACE, [embedding(100 * step + n) for n in range(100)])
            store.get(SPACE, [used.content])
            assert int(redis.get("clip-worker:embeddings:bytes") or 0) <= 1_000_000

        assert used.content in store.get(SPACE, [used.content])
        assert not store.get(SPACE, [embedding(100).content])  # the oldest
        newest = [embedding(3900 + n).content for n in range(100)]
        assert set(newest) <= store.get(SPACE, newest).keys()
        assert store.count(SPACE) == redis.zcard("clip-worker:embeddings:used")


def test_redis_uses_no_more_than_the_budget_says(server: RedisServer) -> None:
    budget, redis = 4_000_000, server.client()
    space = replace(SPACE, dimensions=512)
    store = RedisStore(redis, budget)
    store.put(space, [embedding(-1 % 10**6, 512)])  # the script, too
    before = int(redis.info("memory")["used_memory"])
    for step in range(20):
        store.put(space, [embedding(200 * step + n, 512) for n in range(200)])
    grown = int(redis.info("memory")["used_memory"]) - before
    assert 0.7 * budget < grown < 1.2 * budget
    redis.close()


def test_a_smaller_budget_takes_effect_with_the_next_writes(
    store: RedisStore, redis_url: str
) -> None:
    store.put(SPACE, [embedding(n) for n in range(6000)])
    with connect(redis_url) as redis:
        small = RedisStore(redis, 100_000)
        small.put(SPACE, [embedding(10_001)])
        after_one = small.count(SPACE)
        small.put(SPACE, [embedding(10_002)])
        assert 1000 < after_one < 6000  # one script does not hold Redis up for all of them
        assert small.count(SPACE) < 300


@pytest.mark.parametrize(
    "value", [b"", b"x", b"\xff" * 2 * D, bytes(2 * D), b"\x00\x7c" * D, b"\x00\x40" * D]
)
def test_what_others_wrote_there_counts_as_missing(
    store: RedisStore, redis_url: str, value: bytes
) -> None:
    store.put(SPACE, [embedding(1)])
    content = embedding(1).content
    with connect(redis_url) as redis:
        [key] = redis.keys("clip-worker:embeddings:*:*")
        redis.hset(key, bytes.fromhex(content), value)
        redis.hset("clip-worker:embeddings:spaces", mapping={"x": "{", "y": "[1]", "z": "{}"})
    assert not store.get(SPACE, [content])
    assert not any(batch.contents for batch in store.scan(SPACE))
    assert store.spaces() == [SPACE]


def test_a_space_has_a_bounded_number_of_keys(store: RedisStore, redis_url: str) -> None:
    store.put(SPACE, [embedding(n) for n in range(3000)])
    with connect(redis_url) as redis:
        assert redis.dbsize() == 256 + 3


def test_a_redis_that_is_away_is_a_temporary_error_without_the_password() -> None:
    url = f"redis://:secret@127.0.0.1:{find_free_port()}/0"
    store = open_store(url)
    calls = (
        lambda: store.get(SPACE, [embedding(1).content]),
        lambda: store.put(SPACE, [embedding(1)]),
        lambda: store.count(SPACE),
        store.spaces,
        lambda: list(store.scan(SPACE)),
    )
    for call in calls:
        error = failure_of(call)
        assert isinstance(error, TemporaryError)
        assert error.code == "EMBEDDING_STORE"
        assert "secret" not in error.message
    store.close()
    store.close()


def test_a_url_of_no_store_is_refused_without_its_password() -> None:
    error = failure_of(open_store, "ftp://me:secret@host/x")
    assert error.code == "BAD_EMBEDDING_STORE"
    assert "secret" not in error.message
