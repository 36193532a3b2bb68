"""Features of labels in a real Redis: as they were written, within the budget, leased to one."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from support.text_features import DIM, feature_of
from support.tiny_clip import tiny_engine
from support.waiting import wait_until

from clip_worker.contract.keys import text_features_key, text_leases_key
from worker.text_features.redis_features import RedisFeatures, entry_bytes, field_of, space_of

if TYPE_CHECKING:
    from redis import Redis

pytestmark = pytest.mark.integration

TEMPLATES = ("a {}",)
LONG_S = 60.0
KEY, LEASES = text_features_key("model"), text_leases_key("model")


def fields(*labels: str) -> list[bytes]:
    return [field_of(TEMPLATES, label) for label in labels]


def test_features_come_back_bit_by_bit(store: RedisFeatures) -> None:
    store.write(fields("cat", "dog"), [feature_of("cat"), feature_of("dog")])
    cat, none, dog = store.read(fields("cat", "bird", "dog"))
    assert none is None
    for found, label in ((cat, "cat"), (dog, "dog")):
        assert found is not None
        assert found.dtype == torch.float32
        assert found.numpy().tobytes() == feature_of(label).numpy().tobytes()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"\0" * 4 * DIM,
        struct.pack("<8f", 2, *[0.0] * 7),
        struct.pack("<8f", float("nan"), *[0.5] * 7),
        struct.pack("<8f", float("inf"), *[0.5] * 7),
        feature_of("cat").numpy().tobytes() + b"\0",
        feature_of("cat").numpy().astype("<f8").tobytes(),
    ],
    ids=["empty", "short", "zeros", "longer than 1", "NaN", "infinity", "a byte more", "float64"],
)
def test_what_is_no_feature_is_deleted(store: RedisFeatures, redis: Redis, value: bytes) -> None:
    redis.hset(KEY, fields("cat")[0], value)
    assert store.read(fields("cat")) == [None]
    assert store.claim(fields("cat"), 1, LONG_S) == [0]


def test_a_feature_is_leased_to_one_until_it_is_written_or_released(store: RedisFeatures) -> None:
    assert store.claim(fields("cat", "dog", "bird"), 2, LONG_S) == [0, 1]
    assert store.claim(fields("bird", "dog", "cat"), 9, LONG_S) == [0]
    assert store.claim(fields("cat", "dog", "bird"), 9, LONG_S) == []
    store.release(fields("dog"))
    store.write(fields("cat"), [feature_of("cat")])
    assert store.claim(fields("cat", "dog", "bird"), 9, LONG_S) == [1]


def test_a_lease_lapses(store: RedisFeatures) -> None:
    assert store.claim(fields("cat"), 1, 0.05) == [0]
    wait_until(lambda: store.claim(fields("cat"), 1, LONG_S) == [0])
    assert store.claim(fields("cat"), 1, LONG_S) == []


@pytest.mark.parametrize("until", ["inf", "1e300", "-inf"])
def test_a_lease_that_no_worker_could_have_taken_does_not_count(
    store: RedisFeatures, redis: Redis, until: str
) -> None:
    redis.zadd(LEASES, {fields("cat")[0]: until})
    assert store.claim(fields("cat"), 1, LONG_S) == [0]


def test_features_stay_within_the_budget(redis: Redis) -> None:
    # given room for 100
    dim, most = 512, 100
    budget = most * entry_bytes(dim)
    store = RedisFeatures(redis, "model", dim, budget)
    # when more are written
    for start in range(0, 3 * most, most // 2):
        some = [field_of(TEMPLATES, str(start + n)) for n in range(most // 2)]
        store.write(some, [torch.eye(1, dim)[0] for _ in some])
        assert redis.hlen(KEY) <= most
    # then
    assert redis.hlen(KEY) == most
    used = redis.memory_usage(KEY, samples=0)
    assert used is not None
    assert 0.5 * budget < used <= budget


def test_nothing_is_kept_for_ever(store: RedisFeatures, redis: Redis) -> None:
    store.claim(fields("cat", "dog"), 9, LONG_S)
    assert 0 < redis.ttl(LEASES) <= LONG_S
    store.write(fields("cat"), [feature_of("cat")])
    assert redis.ttl(KEY) > LONG_S


def test_a_label_with_other_templates_is_another_field() -> None:
    of = [("a {}",), ("a {}", "the {}"), ("the {}", "a {}")]
    assert len({field_of(templates, "cat") for templates in of}) == len(of)
    assert field_of(("a",), "b") != field_of(("a", "b"), "")
    assert len(field_of(TEMPLATES, "🐈" * 1000)) == 32


def test_other_models_and_activations_have_a_space_of_their_own() -> None:
    engine = tiny_engine()
    first = space_of(engine, None)
    assert first == space_of(engine, None)
    assert first != space_of(engine, "gelu")


def test_the_bytes_are_little_endian_float32(store: RedisFeatures, redis: Redis) -> None:
    store.write(fields("cat"), [feature_of("cat")])
    [value] = redis.hmget(KEY, fields("cat"))
    assert np.frombuffer(value or b"", "<f4").tolist() == feature_of("cat").tolist()
