"""Named label sets, on a Redis of a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.errors import InvalidRequestError, QueueUnavailableError, ServiceError
from worker.redis.label_sets import FRESH_S, KEY_PREFIX, LabelSets

if TYPE_CHECKING:
    from redis import Redis


class FakeRedis:
    """`get` and `set`, counted; `down` makes both fail."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.reads = 0
        self.down = False

    def get(self, key: str) -> bytes | None:
        self._check()
        self.reads += 1
        return self.stored.get(key)

    def set(self, key: str, value: str) -> None:
        self._check()
        self.stored[key] = value.encode()

    def _check(self) -> None:
        if self.down:
            raise RedisConnectionError("Error 111 connecting to localhost:6379")


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def label_sets(redis: FakeRedis, clock: Clock) -> LabelSets:
    return LabelSets(cast("Redis", redis), clock)


def test_what_is_put_is_what_is_got(label_sets: LabelSets) -> None:
    label_sets.put("animals", ["cat", "naïve 🐈"])
    assert label_sets.get("animals") == ("cat", "naïve 🐈")


def test_the_version_depends_on_the_labels_and_their_order_alone(label_sets: LabelSets) -> None:
    version = label_sets.put("a", ["cat", "dog"])
    assert len(version) == 12
    assert label_sets.put("b", ("cat", "dog")) == version
    assert label_sets.put("a", ["dog", "cat"]) != version
    assert label_sets.put("a", ["catdog"]) != version


def test_a_set_is_read_once_in_five_seconds(
    label_sets: LabelSets, redis: FakeRedis, clock: Clock
) -> None:
    label_sets.put("animals", ["cat"])
    for _ in range(3):
        label_sets.get("animals")
        clock.now_s += FRESH_S / 2 - 0.01
    assert redis.reads == 1


def test_a_new_version_is_in_use_after_five_seconds(label_sets: LabelSets, clock: Clock) -> None:
    label_sets.put("animals", ["cat"])
    label_sets.get("animals")
    label_sets.put("animals", ["dog"])
    assert label_sets.get("animals") == ("cat",)
    clock.now_s += FRESH_S + 0.01
    assert label_sets.get("animals") == ("dog",)


def test_an_unknown_set_is_not_remembered_as_unknown(label_sets: LabelSets) -> None:
    with pytest.raises(InvalidRequestError, match="'animals'") as caught:
        label_sets.get("animals")
    assert caught.value.code == "UNKNOWN_LABEL_SET"
    label_sets.put("animals", ["cat"])
    assert label_sets.get("animals") == ("cat",)


def test_a_redis_that_is_away_is_told_on_both_ways(label_sets: LabelSets, redis: FakeRedis) -> None:
    redis.down = True
    with pytest.raises(QueueUnavailableError, match="'animals' can't be stored"):
        label_sets.put("animals", ["cat"])
    with pytest.raises(QueueUnavailableError, match="'animals' can't be read"):
        label_sets.get("animals")


def test_a_fresh_set_serves_while_redis_is_away(label_sets: LabelSets, redis: FakeRedis) -> None:
    label_sets.put("animals", ["cat"])
    label_sets.get("animals")
    redis.down = True
    assert label_sets.get("animals") == ("cat",)


@pytest.mark.parametrize(
    "stored",
    [
        *(b"", b"{", b"[]", b"{}", b"5", b"\xff"),
        *(b'{"labels": 5}', b'{"labels": ["cat", 5]}', b'{"labels": ["cat", "\\ud83d"]}'),
    ],
)
def test_what_is_no_label_set_is_an_operators_business(
    label_sets: LabelSets, redis: FakeRedis, stored: Any
) -> None:
    redis.stored[KEY_PREFIX + "animals"] = stored
    with pytest.raises(ServiceError, match="'animals'") as caught:
        label_sets.get("animals")
    assert caught.value.code == "BAD_LABEL_SET"
