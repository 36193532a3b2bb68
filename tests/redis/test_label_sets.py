"""Named label sets."""

from __future__ import annotations

import fakeredis
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from support.failure import code_of, failure_of
from support.fake_clock import FakeClock

from clip_worker.errors import QueueUnavailableError
from clip_worker.redis.label_sets import FRESH_S, KEY_PREFIX, LabelSets


class Redis(fakeredis.FakeRedis):
    """Counts reads; fails while `down`."""

    reads = 0
    down = False

    def execute_command(self, *args: object, **options: object):
        if self.down:
            raise RedisConnectionError("Error 111 connecting to localhost:6379")
        self.reads += args[0] == "GET"
        return super().execute_command(*args, **options)


@pytest.fixture
def redis():
    return Redis()


@pytest.fixture
def clock():
    return FakeClock(50.0)


@pytest.fixture
def label_sets(redis, clock):
    return LabelSets(redis, clock)


def test_a_stored_set_is_read(label_sets):
    label_sets.put("animals", ["cat", "naïve 🐈"])
    assert label_sets.get("animals") == ("cat", "naïve 🐈")


def test_the_version_depends_only_on_the_labels_and_their_order(label_sets):
    version = label_sets.put("a", ["cat", "dog"])
    assert len(version) == 12
    assert label_sets.put("b", ("cat", "dog")) == version
    assert label_sets.put("a", ["dog", "cat"]) != version
    assert label_sets.put("a", ["catdog"]) != version


def test_a_set_is_cached_for_five_seconds_also_while_redis_is_away(label_sets, redis, clock):
    label_sets.put("animals", ["cat"])
    for _ in range(3):
        assert label_sets.get("animals") == ("cat",)
        redis.down = True
        clock.sleep(FRESH_S / 2 - 0.01)
    assert redis.reads == 1


def test_a_new_version_is_used_after_five_seconds(label_sets, clock):
    label_sets.put("animals", ["cat"])
    label_sets.get("animals")
    label_sets.put("animals", ["dog"])
    assert label_sets.get("animals") == ("cat",)
    clock.sleep(FRESH_S + 0.01)
    assert label_sets.get("animals") == ("dog",)


def test_that_a_set_is_unknown_is_not_cached(label_sets):
    failure = failure_of(label_sets.get, "animals")
    assert (failure.code, "'animals'" in failure.message) == ("UNKNOWN_LABEL_SET", True)
    label_sets.put("animals", ["cat"])
    assert label_sets.get("animals") == ("cat",)


def test_an_unreachable_redis_is_reported_by_reading_and_storing(label_sets, redis):
    redis.down = True
    stored = failure_of(label_sets.put, "animals", ["cat"])
    read = failure_of(label_sets.get, "animals")
    assert type(stored) is type(read) is QueueUnavailableError
    assert "'animals' can't be stored" in stored.message
    assert "'animals' can't be read" in read.message


@pytest.mark.parametrize(
    "stored",
    [
        *(b"", b"{", b"[]", b"{}", b"5", b"\xff"),
        *(b'{"labels": 5}', b'{"labels": ["cat", 5]}', b'{"labels": ["cat", "\\ud83d"]}'),
    ],
)
def test_a_value_that_is_not_a_label_set_is_reported(label_sets, redis, stored):
    redis.set(KEY_PREFIX + "animals", stored)
    assert code_of(label_sets.get, "animals") == "BAD_LABEL_SET"
