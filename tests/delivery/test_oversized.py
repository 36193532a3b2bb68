"""Messages that are too large: cut in Redis, and refused with their id, unread."""

from __future__ import annotations

import json

import pytest
from support.messages import message
from support.queue_state import KEYS

from clip_worker.redis.url import connect
from worker.delivery.oversized import OversizedMessageError, check_size
from worker.delivery.redis_queue import RedisQueue

MOST_BYTES = 100_000
ID = "5f3c8b1e-2a0d-4c57-9a55-d1b6a1f0c001"


def taken(redis_url: str, raw: str) -> bytes:
    """What a worker gets of a message."""
    with connect(redis_url) as redis:
        redis.lpush(KEYS.queue, raw)
        queue = RedisQueue(redis, KEYS, lease_s=60, result_ttl_s=60, most_message_bytes=MOST_BYTES)
        [delivery] = queue.take(1)
        assert redis.llen(KEYS.queue) == 0
        [entry] = redis.hvals(KEYS.unacked(queue.lease.name))
        assert delivery.message in entry
        return delivery.message


def sized(size: int) -> str:
    """A message of so many bytes."""
    raw = json.dumps(message(ID, body="x"))
    return raw.replace('"x"', f'"{"x" * (size - len(raw) + 1)}"', 1)


def test_a_message_of_the_largest_size_is_taken_whole(redis_url):
    raw = sized(MOST_BYTES)
    assert taken(redis_url, raw) == raw.encode()
    check_size(raw.encode())


def test_of_a_larger_message_only_its_begin_and_end_are_taken(redis_url):
    cut = taken(redis_url, sized(MOST_BYTES + 1))
    assert len(cut) < 40_000
    with pytest.raises(OversizedMessageError, match="it has 100001 bytes, more than") as caught:
        check_size(cut)
    assert (caught.value.envelope.id, caught.value.envelope.task) == (ID, "clip.classify")


@pytest.mark.parametrize("raw", ["x" * 200_000, "\0" + "x" * 200_000, "\0", '"headers"' * 20_000])
def test_what_shows_no_id_has_none(redis_url, raw):
    with pytest.raises(OversizedMessageError) as caught:
        check_size(taken(redis_url, raw))
    assert (caught.value.envelope.id, caught.value.envelope.task) == ("", "")


def test_a_message_that_was_cut_stays_cut_when_it_goes_back(redis_url):
    cut = taken(redis_url, sized(MOST_BYTES + 1))
    assert taken(redis_url, cut.decode()) == cut
