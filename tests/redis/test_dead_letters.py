"""Dead letters in Redis: reading, replaying and purging them."""

from __future__ import annotations

import json

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.failure import code_of, failure_of

from clip_worker.contract.keys import RESULT_PREFIX, dead_index_key, dead_key
from clip_worker.errors import QueueUnavailableError
from clip_worker.redis.dead_letters import DeadLetter, DeadLetters, Incident
from worker.cli.demo.redis_server import find_free_port

QUEUE = "images"
URL = "redis://:secret@images/0"
DOCUMENTED = {
    "task": "clip.classify",
    "reason": "Each of 3 workers that began it died.",
    "code": "POISON",
    "history": [{"kind": "crash", "at": 1000.5, "worker": "clip@gpu-3", "together": 8}],
}


def letter(task_id: str, died_at: float = 2000.0) -> DeadLetter:
    message = json.dumps({"body": "W10=", "headers": {"id": task_id}, "umlaut": "\u00fc \u2028"})
    fields = DOCUMENTED | {"id": task_id, "died_at": died_at, "message": message}
    return DeadLetter(**fields | {"history": [Incident(**DOCUMENTED["history"][0])]})


@pytest.fixture
def redis(redis_url):
    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def dead(redis):
    return DeadLetters(redis, URL, QUEUE)


@pytest.fixture
def store(redis):
    def store(*letters: DeadLetter):
        for one in letters:
            redis.hset(dead_key(QUEUE), one.id, one.encode())
            redis.zadd(dead_index_key(QUEUE), {one.id: one.died_at})
            redis.set(RESULT_PREFIX + one.id, "failure")

    return store


def test_a_letter_is_json_with_the_documented_names():
    own = {"id": "a", "died_at": 2000.0, "message": letter("a").message}
    assert json.loads(letter("a").encode()) == DOCUMENTED | own


def test_unknown_fields_of_a_newer_version_are_ignored():
    newer = json.loads(letter("a").encode()) | {"colour": "black"}
    assert DeadLetter.decode(json.dumps(newer)) == letter("a")


@pytest.mark.parametrize("stored", ["", "null", "[]", '{"id": "a"}', b"\xff"])
def test_a_value_that_is_not_a_letter_is_reported(stored):
    assert code_of(DeadLetter.decode, stored) == "BAD_DEAD_LETTER"


@pytest.mark.integration
def test_a_replayed_message_is_in_the_queue_once_and_its_result_is_deleted(redis, dead, store):
    # given
    store(letter("a"), letter("b"))
    redis.rpush(QUEUE, "waiting already")
    # when
    missing = dead.replay(["a", "nobody", "a"])
    # then
    assert missing == ["nobody", "a"]
    assert redis.lrange(QUEUE, 0, -1) == [letter("a").message.encode(), b"waiting already"]
    assert redis.exists(RESULT_PREFIX + "a") == 0
    assert redis.exists(RESULT_PREFIX + "b") == 1
    assert dead.ids() == ["b"]
    assert redis.hkeys(dead_key(QUEUE)) == [b"b"]


@pytest.mark.integration
def test_a_result_in_another_redis_is_deleted_there(redis, redis_url, store):
    store(letter("a"))
    with Redis.from_url(redis_url.removesuffix("/0") + "/1") as results:
        results.set(RESULT_PREFIX + "a", "failure")
        assert DeadLetters(redis, URL, QUEUE, results).replay(["a"]) == []
        assert results.exists(RESULT_PREFIX + "a") == 0
    assert redis.exists(RESULT_PREFIX + "a") == 1
    assert redis.llen(QUEUE) == 1


@pytest.mark.integration
def test_an_id_with_a_lone_surrogate_is_not_a_dead_letter(dead, store):
    store(letter("a"))
    assert dead.get("\ud83d") is None
    assert dead.replay(["\ud83d"]) == dead.purge(["\ud83d"]) == ["\ud83d"]
    assert dead.ids() == ["a"]


def test_an_unreachable_redis_is_named_without_its_password():
    with Redis(port=find_free_port(), retry=Retry(NoBackoff(), 0)) as redis:
        dead = DeadLetters(redis, URL, QUEUE)
        for call, *arguments in (
            (dead.__len__,),
            (dead.ids,),
            (dead.newest, 1),
            (dead.get, "a"),
            (dead.replay, ["a"]),
            (dead.purge, ["a"]),
        ):
            failure = failure_of(call, *arguments)
            assert type(failure) is QueueUnavailableError
            assert "Redis at redis://:***@images/0" in failure.message
