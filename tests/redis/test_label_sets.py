"""Named label sets."""

from __future__ import annotations

import fakeredis
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from support.failure import code_of, failure_of
from support.fake_clock import FakeClock

from clip_worker.contract import LabelSet
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


ANIMALS = LabelSet(labels=("cat", "naïve 🐈"))
FIRST = LabelSet(labels=ANIMALS.labels, number=1)


def test_a_stored_set_is_read(label_sets):
    label_sets.put("animals", ANIMALS)
    assert label_sets.get("animals") == label_sets.read("animals") == FIRST


def test_a_set_is_cached_for_five_seconds_also_while_redis_is_away(label_sets, redis, clock):
    label_sets.put("animals", ANIMALS)
    for _ in range(3):
        assert label_sets.get("animals") == FIRST
        redis.down = True
        clock.sleep(FRESH_S / 2 - 0.01)
    assert redis.reads == 1


def test_a_new_version_is_used_after_five_seconds(label_sets, clock):
    label_sets.put("animals", ANIMALS)
    label_sets.get("animals")
    label_sets.put("animals", LabelSet(labels=("dog",)))
    assert label_sets.get("animals") == FIRST
    clock.sleep(FRESH_S + 0.01)
    assert label_sets.get("animals").labels == ("dog",)


def test_without_caching_a_new_version_is_used_at_once(redis, clock):
    sets = LabelSets(redis, clock, fresh_s=0)
    for labels in (("cat",), ("cat", "dog")):
        sets.put("animals", LabelSet(labels=labels))
        assert sets.get("animals").labels == labels


def test_a_set_that_stays_is_the_same_object(label_sets, clock):
    label_sets.put("animals", ANIMALS)
    first = label_sets.get("animals")
    clock.sleep(FRESH_S + 0.01)
    assert label_sets.get("animals") is first


def test_that_a_set_is_unknown_is_not_cached(label_sets):
    failure = failure_of(label_sets.get, "animals")
    assert (failure.code, "'animals'" in failure.message) == ("UNKNOWN_LABEL_SET", True)
    label_sets.put("animals", ANIMALS)
    assert label_sets.get("animals") == FIRST


def test_an_unreachable_redis_is_reported_by_reading_and_storing(label_sets, redis):
    redis.down = True
    stored = failure_of(label_sets.put, "animals", ANIMALS)
    read = failure_of(label_sets.get, "animals")
    assert type(stored) is type(read) is QueueUnavailableError
    assert "'animals' can't be stored" in stored.message
    assert "'animals' can't be read" in read.message


@pytest.mark.parametrize(
    "stored",
    [
        *(b"", b"{", b"[]", b"{}", b"5", b"null", b"\xff", b"[" * 100_000),
        *(b'{"labels": 5}', b'{"labels": ["cat", 5]}', b'{"labels": ["cat", "\\ud83d"]}'),
        *(b'{"labels": []}', b'{"labels": ["cat", "cat"]}', b'{"labels": [" "]}'),
        b'{"labels": ["cat"], "hierarchical": "yes"}',
        b'{"labels": ["cat > lion", "cat >"], "hierarchical": true}',
        *(
            b'{"labels": ["cat"], "calibration": %b}' % calibration
            for calibration in (b"5", b"[]", b"{}", b'{"temperature": NaN}', b"[" * 100_000)
        ),
    ],
)
def test_a_value_that_is_not_a_label_set_is_reported(label_sets, redis, stored):
    redis.set(KEY_PREFIX + "animals", stored)
    for read in (label_sets.get, label_sets.read):
        assert code_of(read, "animals") == "BAD_LABEL_SET"


def test_a_key_of_another_type_is_no_label_set(label_sets, redis):
    redis.rpush(KEY_PREFIX + "animals", "cat")
    assert code_of(label_sets.get, "animals") == "BAD_LABEL_SET"
