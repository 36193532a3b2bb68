"""Where a harness finds its messages, with a real Redis."""

from __future__ import annotations

import threading

import redis

from torture.message import QUEUE, RESULTS, UNACKNOWLEDGED, Messages

MESSAGES = 500


def test_what_moves_while_it_is_looked_for_is_not_lost(redis_url):
    # given
    with redis.Redis.from_url(redis_url) as client, redis.Redis.from_url(redis_url) as worker:
        messages = Messages(client, redis_url)
        messages.send(MESSAGES)
        moving = threading.Thread(target=_move_all, args=[worker, list(messages.numbers)])
        # when
        moving.start()
        lost = [messages.lost()]
        while moving.is_alive():
            lost.append(messages.lost())
        moving.join()
        # then
        assert len(lost) > 1
        assert set().union(*lost) == set()
        assert messages.done() == set(messages.numbers.values())


def test_what_was_taken_away_is_lost(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        messages = Messages(client, redis_url)
        messages.send(3)
        client.rpop(QUEUE)
        assert messages.lost() == {0}


def _move_all(worker, ids: list[str]):
    """From the queue into hand, and from there to a result, each in one step."""
    take = worker.register_script(
        "redis.call('HSET', KEYS[2], ARGV[1], redis.call('RPOP', KEYS[1]))"
    )
    finish = worker.register_script(
        "redis.call('HDEL', KEYS[2], ARGV[1]); redis.call('SET', KEYS[1], 'done')"
    )
    for id_ in ids:  # the queue gives them in this order
        take(keys=[QUEUE, UNACKNOWLEDGED[-1]], args=[id_])
        finish(keys=[RESULTS + id_, UNACKNOWLEDGED[-1]], args=[id_])
