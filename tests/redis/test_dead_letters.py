"""Dead letters: what lies in Redis, and what replaying and purging make of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.cli.demo.redis_server import find_free_port
from worker.contract.keys import RESULT_PREFIX, dead_index_key, dead_key
from worker.errors import QueueUnavailableError, ServiceError
from worker.redis.dead_letters import DeadLetter, DeadLetters, Incident

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = "pictures"
URL = "redis://:secret@pictures/0"
OTHER_DATABASE = "/1"
CRASH = Incident(kind="crash", at=1000.5, worker="clip@gpu-3", together=8)


def letter(task_id: str, died_at: float = 2000.0) -> DeadLetter:
    return DeadLetter(
        id=task_id,
        task="clip.classify",
        reason="Each of 3 workers that began it died.",
        code="POISON",
        died_at=died_at,
        history=(CRASH,),
        message=json.dumps({"body": "W10=", "headers": {"id": task_id}, "umlaut": "\u00fc \u2028"}),
    )


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as redis:
        yield redis


def bury(redis: Redis, *letters: DeadLetter) -> None:
    for dead in letters:
        redis.hset(dead_key(QUEUE), dead.id, dead.encode())
        redis.zadd(dead_index_key(QUEUE), {dead.id: dead.died_at})
        redis.set(RESULT_PREFIX + dead.id, "failure")


def test_a_letter_is_json_with_the_names_that_are_documented() -> None:
    assert json.loads(letter("a").encode()) == {
        "id": "a",
        "task": "clip.classify",
        "reason": "Each of 3 workers that began it died.",
        "code": "POISON",
        "died_at": 2000.0,
        "history": [{"kind": "crash", "at": 1000.5, "worker": "clip@gpu-3", "together": 8}],
        "message": letter("a").message,
    }


def test_a_letter_survives_encoding_and_what_a_newer_version_adds() -> None:
    newer = json.loads(letter("a").encode()) | {"colour": "black"}
    assert DeadLetter.decode(json.dumps(newer)) == letter("a")


@pytest.mark.parametrize("stored", ["", "null", "[]", '{"id": "a"}', b"\xff"])
def test_what_is_no_letter_is_refused_by_name(stored: str | bytes) -> None:
    with pytest.raises(ServiceError, match="is none") as caught:
        DeadLetter.decode(stored)
    assert caught.value.code == "BAD_DEAD_LETTER"


@pytest.mark.integration
def test_the_newest_come_first_and_no_more_than_asked_for(redis: Redis) -> None:
    bury(redis, letter("a", 1.0), letter("c", 3.0), letter("b", 2.0))
    dead = DeadLetters(redis, URL, QUEUE)
    assert [one.id for one in dead.newest(2)] == ["c", "b"]
    assert (len(dead), dead.ids(), dead.newest(0)) == (3, ["a", "b", "c"], [])
    assert dead.get("b") == letter("b", 2.0)
    assert dead.get("d") is None


@pytest.mark.integration
def test_a_replayed_message_is_on_the_queue_as_it_was_and_its_caller_waits_again(
    redis: Redis,
) -> None:
    # given
    bury(redis, letter("a"), letter("b"))
    redis.rpush(QUEUE, "waiting already")
    # when
    missing = DeadLetters(redis, URL, QUEUE).replay(["a", "nobody"])
    # then
    assert missing == ["nobody"]
    assert redis.lrange(QUEUE, 0, -1) == [letter("a").message.encode(), b"waiting already"]
    assert redis.exists(RESULT_PREFIX + "a") == 0
    assert redis.exists(RESULT_PREFIX + "b") == 1
    assert DeadLetters(redis, URL, QUEUE).ids() == ["b"]
    assert redis.hkeys(dead_key(QUEUE)) == [b"b"]


@pytest.mark.integration
def test_a_message_is_replayed_once_however_often_one_asks(redis: Redis) -> None:
    bury(redis, letter("a"))
    dead = DeadLetters(redis, URL, QUEUE)
    assert dead.replay(["a", "a"]) == ["a"]
    assert redis.llen(QUEUE) == 1


@pytest.mark.integration
def test_results_that_lie_elsewhere_are_dropped_there(redis: Redis, redis_url: str) -> None:
    bury(redis, letter("a"))
    with Redis.from_url(redis_url.removesuffix("/0") + OTHER_DATABASE) as results:
        results.set(RESULT_PREFIX + "a", "failure")
        assert DeadLetters(redis, URL, QUEUE, results).replay(["a"]) == []
        assert results.exists(RESULT_PREFIX + "a") == 0
    assert redis.exists(RESULT_PREFIX + "a") == 1
    assert redis.llen(QUEUE) == 1


@pytest.mark.integration
def test_a_purged_message_is_gone_and_its_failure_stays(redis: Redis) -> None:
    bury(redis, letter("a"), letter("b"))
    dead = DeadLetters(redis, URL, QUEUE)
    assert dead.purge(["a", "nobody"]) == ["nobody"]
    assert (dead.ids(), dead.get("a"), redis.llen(QUEUE)) == (["b"], None, 0)
    assert redis.exists(RESULT_PREFIX + "a") == 1


def test_a_redis_that_is_away_is_told_by_its_url() -> None:
    with Redis(port=find_free_port(), retry=Retry(NoBackoff(), 0)) as redis:
        dead = DeadLetters(redis, URL, QUEUE)
        for call in (lambda: len(dead), dead.ids, lambda: dead.newest(1), lambda: dead.get("a")):
            with pytest.raises(QueueUnavailableError, match=r"Redis at redis://:\*\*\*@pictures/0"):
                call()
        for change in (dead.replay, dead.purge):
            with pytest.raises(QueueUnavailableError):
                change(["a"])


def test_an_id_that_is_no_text_is_no_dead_letters(redis: Redis) -> None:
    dead = DeadLetters(redis, URL, QUEUE)
    bury(redis, letter("a"))
    assert dead.get("\ud83d") is None
    assert dead.replay(["\ud83d"]) == dead.purge(["\ud83d"]) == ["\ud83d"]
    assert dead.ids() == ["a"]
