"""What `queue_status` counts, in a Redis of fakeredis and in a real one."""

from __future__ import annotations

import json
import time

import fakeredis
import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from clip_worker.contract import SENT_AT_HEADER
from clip_worker.contract.keys import QueueKeys, dead_index_key
from clip_worker.contract.message_writer import Arguments, MessageWriter
from clip_worker.redis.queue_status import QueueStatus, queue_status

KEYS = QueueKeys("images")
RIGHTS = (
    *("evalsha", "script|load", "time", "llen", "lindex", "hlen"),
    *("zcard", "zscore", "zrange", "zrevrange"),
)


@pytest.fixture(params=["fakeredis", pytest.param("redis", marks=pytest.mark.integration)])
def redis(request):
    if request.param == "fakeredis":
        yield fakeredis.FakeRedis()
    else:
        with Redis.from_url(request.getfixturevalue("redis_url")) as redis:
            yield redis


def message(sent_at: object = None, **headers: object) -> str:
    if sent_at is not None:
        headers[SENT_AT_HEADER] = sent_at
    return json.dumps({"body": "W10=", "headers": headers})


def age(redis: Redis) -> float | None:
    return queue_status(redis, "images").oldest_s


def test_a_queue_that_nobody_used_is_empty(redis):
    assert queue_status(redis, "images") == QueueStatus("images", 0, 0, 0, 0, None, 0, 0)


def test_all_lists_count_as_waiting_and_the_suspects_besides(redis):
    for number, name in enumerate([*KEYS.lists, *KEYS.arrived, KEYS.suspects]):
        redis.lpush(name, *["m"] * (1 + number % 2))
    status = queue_status(redis, "images")
    assert (status.messages, status.suspects) == (13, 1)


def test_in_flight_is_what_live_lapsed_and_parked_leases_hold(redis):
    now = time.time()
    redis.zadd(KEYS.leases, {"live": now + 60, "lapsed": 0, "parked:9": now + 60})
    for count, lease in enumerate(("live", "lapsed", "parked:9"), start=1):
        redis.hset(KEYS.unacked(lease), mapping={f"tag-{number}": "m" for number in range(count)})
    redis.lpush("images", "m")
    status = queue_status(redis, "images")
    assert (status.in_flight_messages, status.workers, status.total_messages) == (6, 1, 7)


def test_dead_letters_and_webhooks_are_counted(redis):
    redis.zadd(dead_index_key("images"), {"a": 1, "b": 2})
    redis.zadd(KEYS.webhooks, {"post": 0})
    status = queue_status(redis, "images")
    assert (status.dead_letters, status.webhooks) == (2, 1)


def test_the_oldest_message_of_all_lists_gives_the_age(redis):
    now = time.time()
    redis.lpush(KEYS.lists[0], message(now - 20), message(now))
    redis.lpush(KEYS.lists[2], message(now - 90), message(now - 10))
    redis.lpush(KEYS.suspects, f"images\n1\n{now} 1 gpu-3\n{message(now - 50)}")
    assert age(redis) == pytest.approx(90, abs=5)


def test_the_time_in_a_message_of_the_client_is_found(redis):
    arguments = Arguments('{"image": "file:///a.png"}', "{'image': '\"clip_sent_at\": 1'}")
    redis.lpush("images", MessageWriter("images").write("id", "clip.classify", arguments))
    assert age(redis) == pytest.approx(0, abs=5)


@pytest.mark.parametrize("sent_at", [None, "12", 0, -5, [3]])
def test_without_a_usable_time_the_age_is_unknown(redis, sent_at):
    redis.lpush("images", message(sent_at))
    assert age(redis) is None


def test_a_time_in_the_future_is_an_age_of_nothing(redis):
    redis.lpush("images", message(time.time() + 1000))
    assert age(redis) == 0


def test_a_time_within_a_string_is_not_the_messages_own(redis):
    redis.lpush("images", message(argsrepr='"clip_sent_at": 1', time=json.dumps(message(5))))
    assert age(redis) is None


def test_what_is_no_json_is_counted_and_has_no_age(redis):
    redis.lpush("images", b"\xff\x00", b'"clip_sent_at"')
    status = queue_status(redis, "images")
    assert (status.messages, status.oldest_s) == (2, None)


def test_messages_of_tenants_are_counted_and_the_largest_are_named(redis):
    now = time.time()
    for number in range(8):
        tenant = f"t{number}"
        redis.lpush(KEYS.tenant(tenant, 3), message(now - 100 * (number == 0)), *"m" * number)
        redis.zadd(KEYS.tenants_waiting, {tenant: 1 + number})
    redis.lpush(KEYS.tenant(""), *"m" * 100)
    redis.zadd(KEYS.tenants_waiting, {"": 100, "*": 136})
    redis.lpush(KEYS.tenants, *(f"t{number}" for number in range(8)), "")
    redis.lpush(KEYS.lists[0], "m")

    status = queue_status(redis, "images")

    assert (status.messages, status.tenants) == (137, 8)
    assert status.largest_tenants == {"t7": 8, "t6": 7, "t5": 6, "t4": 5, "t3": 4}
    assert status.oldest_s == pytest.approx(100, abs=5)  # of the one whose turn is next


@pytest.mark.integration
def test_one_call_is_one_command_and_transfers_no_message(redis_url):
    with Redis.from_url(redis_url) as redis:
        redis.lpush("images", message(time.time(), argsrepr="x" * 10_000_000))
        queue_status(redis, "images")
        redis.config_resetstat()
        queue_status(redis, "images")
        sent = redis.info("stats")["total_net_output_bytes"]
        calls = {name for name in redis.info("commandstats") if name.startswith("cmdstat_eval")}
    assert sent < 1000
    assert calls == {"cmdstat_evalsha"}


@pytest.mark.integration
def test_it_needs_no_other_rights_than_its_page_says(server):
    names = [f"+{command}" for command in RIGHTS]
    with server.client() as owner:
        owner.execute_command(
            "ACL", "SETUSER", "reader", "on", ">word", "~images*", "~clip-worker:images:*", *names
        )
    with Redis(port=server.port, username="reader", password="word") as reader:
        assert queue_status(reader, "images").messages == 0
        with pytest.raises(NoPermissionError):
            queue_status(reader, "others")
