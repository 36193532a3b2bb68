"""The outbox of webhooks, on a real Redis: no post is lost, none comes back."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING

import pytest
from support.queue_state import KEYS
from support.webhook_post import POST

from clip_worker.redis.dead_letters import UNDELIVERED, DeadLetters
from worker.webhooks.outbox import Claim, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

pytestmark = pytest.mark.integration

CLAIM_S = 60.0
LATER = time.time() + 1_000_000  # not yet due at the end of a long run


def due_in_s(server: redis.Redis, event_id: str) -> float:
    return float(server.zscore(KEYS.webhooks, event_id) or 0) - time.time()


def test_what_has_been_due_for_longest_is_claimed_first_and_by_one_worker(
    outbox: Outbox, put: Callable[..., None]
) -> None:
    put("second", 20.0)
    put("first", 10.0)
    put("later", LATER)

    assert outbox.waiting() == 3
    assert outbox.claim(CLAIM_S) == Claim("first", POST, is_more=True)
    assert outbox.claim(CLAIM_S) == Claim("second", POST, is_more=False)
    assert outbox.claim(CLAIM_S) is None
    assert outbox.waiting() == 3


def test_a_claim_that_lapses_is_due_again(
    outbox: Outbox, put: Callable[..., None], server: redis.Redis
) -> None:
    # given a worker that died after it had claimed a post
    put("e")
    assert outbox.claim(CLAIM_S)
    assert due_in_s(server, "e") == pytest.approx(CLAIM_S, abs=10)

    server.zincrby(KEYS.webhooks, -2 * CLAIM_S, "e")

    assert outbox.claim(CLAIM_S) == Claim("e", POST, is_more=False)


def test_what_was_delivered_is_gone_and_stays_gone(
    outbox: Outbox, put: Callable[..., None], server: redis.Redis
) -> None:
    put("e")
    assert outbox.remove("e")
    assert not outbox.remove("e")
    # then another worker, whose claim had lapsed and whose attempt has failed, brings nothing back
    assert not outbox.retry("e", POST, 1.0)
    assert not outbox.bury(POST.failed(1.0, "w").dead_letter("e", "it is down", 2.0))
    assert server.keys("*") == []


def test_what_is_tried_again_is_due_after_a_pause_with_its_history(
    outbox: Outbox, put: Callable[..., None], server: redis.Redis
) -> None:
    put("e")
    tried = POST.failed(1.0, "w@h").failed(2.0, "w@h")

    assert outbox.retry("e", tried, 500.0)

    assert outbox.claim(CLAIM_S) is None
    assert due_in_s(server, "e") == pytest.approx(500, abs=10)
    server.zadd(KEYS.webhooks, {"e": 0})
    assert outbox.claim(CLAIM_S) == Claim("e", tried, is_more=False)
    assert [attempt.at for attempt in tried.attempts] == [1.0, 2.0]


def test_a_dead_letter_is_shown_without_secrets_and_a_replay_posts_it_as_if_for_the_first_time(
    outbox: Outbox, put: Callable[..., None], server: redis.Redis
) -> None:
    put("e")
    letter = POST.failed(1.0, "w@h").failed(2.0, "w@h").dead_letter("e", "it is down", 3.0)

    assert outbox.bury(letter)

    dead = DeadLetters(server, "redis://", KEYS.queue)
    assert outbox.waiting() == 0
    assert dead.newest(1) == [letter]
    assert (letter.code, len(letter.history)) == (UNDELIVERED, 2)
    assert letter.reason == (
        "The result of task 't' was not delivered to the webhook 'http://127.0.0.1/hooks?...' in 2 "
        "attempts: it is down."
    )
    # when
    server.set("celery-task-meta-e", "the result of a task that has this very id")
    assert dead.replay(["e", "nobody"]) == ["nobody"]
    # then
    assert outbox.claim(CLAIM_S) == Claim("e", POST, is_more=False)
    assert dead.ids() == []
    assert server.exists("celery-task-meta-e")
    assert server.llen(KEYS.queue) == 0


def test_a_post_that_an_unknown_version_wrote_costs_no_other_one(
    outbox: Outbox, put: Callable[..., None], server: redis.Redis
) -> None:
    put("unknown")
    server.hset(KEYS.webhook_posts, "unknown", '{"url": ["https://example.com/?token=hidden"]}')
    put("known", 1.0)

    with pytest.raises(ValueError, match="a stored post can't be read") as caught:
        outbox.claim(CLAIM_S)

    assert "hidden" not in "".join(traceback.format_exception(caught.value))
    assert outbox.claim(CLAIM_S) == Claim("known", POST, is_more=False)


def test_an_id_whose_post_somebody_has_deleted_is_dropped(
    outbox: Outbox, put: Callable[..., None], server: redis.Redis
) -> None:
    put("deleted")
    put("kept", 1.0)
    server.hdel(KEYS.webhook_posts, "deleted")
    assert outbox.claim(CLAIM_S) == Claim("kept", POST, is_more=False)
    assert outbox.waiting() == 1


def test_all_of_it_works_where_memory_is_full(
    outbox: Outbox, put: Callable[..., None], server: redis.Redis
) -> None:
    for event_id in ("delivered", "again", "dead"):
        put(event_id)
    server.config_set("maxmemory", "1")
    try:
        for _ in range(3):
            assert outbox.claim(CLAIM_S)
        assert outbox.remove("delivered")
        assert outbox.retry("again", POST, 1.0)
        assert outbox.bury(POST.failed(1.0, "w").dead_letter("dead", "it is down", 2.0))
    finally:
        server.config_set("maxmemory", "0")
