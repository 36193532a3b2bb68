"""`clip-worker dead`, on a real Redis with dead letters as a worker writes them."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from clip_worker import Client
from clip_worker.contract.celery_result import failure, result_key
from clip_worker.contract.keys import dead_index_key, dead_key
from clip_worker.contract.message_reader import Envelope
from clip_worker.errors import ResultTimeoutError, ServiceError
from clip_worker.redis.dead_letters import DeadLetter, Incident
from worker.cli.entry import run
from worker.webhooks.post import WebhookPost

pytestmark = pytest.mark.integration

QUEUE = "images"
LABELS = [f"label {n}" for n in range(50)]
REASON = "Each of 2 workers that began it died."


@pytest.fixture
def client(redis_url):
    with Client(redis_url, queue=QUEUE) as client:
        yield client


@pytest.fixture
def redis(redis_url):
    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def dead(redis_url, capsys):
    """Runs `clip-worker dead`; its exit status, and the lines of its output and errors."""

    def dead(command, *arguments: str):
        status = run(["dead", command, "--redis-url", redis_url, "--queue", QUEUE, *arguments])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return dead


@pytest.fixture
def letter(client, redis):
    """Sends a task and gives it up, as a worker does; the task's handle."""

    def letter(image="data:,x", *, died_at=1763730100.0, **changes: object):
        handle = client.classify(image, LABELS)
        dead = DeadLetter(
            id=handle.id,
            task="clip.classify",
            reason=REASON,
            code="POISON",
            died_at=died_at,
            history=(
                Incident(kind="crash", at=1763730000.0, worker="clip@one", together=8),
                Incident(kind="crash", at=1763730060.0, worker="clip@two", together=1),
            ),
            message=redis.rpop(QUEUE).decode(),
        ).model_copy(update=changes)
        redis.hset(dead_key(QUEUE), handle.id, dead.encode())
        redis.zadd(dead_index_key(QUEUE), {handle.id: died_at})
        error = ServiceError(REASON, "POISON")
        redis.set(result_key(handle.id), failure(Envelope(handle.id, "clip.classify"), error))
        return handle

    return letter


def test_an_empty_list_is_reported(dead):
    assert dead("list") == (0, ["The queue 'images' has no dead letters."], [])


def test_the_newest_are_listed_first_with_the_reason(dead, letter):
    ids = [letter(died_at=1763730100.0 + n).id for n in range(3)]
    status, [heading, *rows, rest], _ = dead("list", "--limit", "2")
    assert status == 0
    assert heading.split("  ")[0] == "died (UTC)"
    assert [row.split(maxsplit=6) for row in rows] == [
        ["2025-11-21", "13:01:42", ids[2], "clip.classify", "POISON", "2", REASON],
        ["2025-11-21", "13:01:41", ids[1], "clip.classify", "POISON", "2", REASON],
    ]
    assert rest == "... and 1 more; use --limit 3 to list all."


def test_json_has_one_line_for_each_letter(dead, letter):
    task_id = letter().id
    _, [listed], _ = dead("list", "--json")
    assert dead("show", "--json", task_id) == (0, [listed], [])
    stored = json.loads(listed)
    assert (stored["id"], stored["history"][1]["worker"]) == (task_id, "clip@two")


def test_one_is_shown_with_its_history_and_its_arguments_cut(dead, letter):
    task_id = letter("data:image/jpeg;base64," + 5000 * "A").id
    status, shown, _ = dead("show", task_id)
    assert status == 0
    assert {
        f"id         {task_id}",
        f"reason     {REASON}",
        "history    1. crash on clip@one, started 2025-11-21 13:00:00 UTC, with 7 other messages",
        "           2. crash on clip@two, started 2025-11-21 13:01:00 UTC, alone",
        "  labels: ['label 0', 'label 1', 'label 2', 'label 3', 'label 4', ... 50 in total]",
        "  image: 'data:image/jpeg;base64,...'",
    } <= set(shown)
    assert max(map(len, shown)) <= 100


def test_a_message_that_cannot_be_read_is_shown_all_the_same(dead, letter):
    status, shown, _ = dead("show", letter(message="\x1b[31m no JSON").id)
    assert status == 0
    assert shown[-1].startswith("arguments  can't be read")
    assert "\x1b" not in "".join(shown)


def test_callers_of_a_replayed_task_wait_again(dead, client, redis, letter):
    # given a caller who saw the failure
    task_id = letter().id
    with pytest.raises(ServiceError, match="2 workers"):
        client.handle(task_id).get(5)
    # when
    assert dead("replay", task_id) == (0, ["Replayed 1 message of the queue 'images'."], [])
    # then
    assert redis.llen(QUEUE) == 1
    assert len(client.dead_letters) == 0
    with pytest.raises(ResultTimeoutError):
        client.handle(task_id).get(0)


def test_all_are_replayed_but_those_that_no_worker_can_read(dead, client, redis, letter):
    reason = "The message can't be read: its header 'eta' is 'soon'."
    good = {letter().id for _ in range(3)}
    bad = letter(code="UNREADABLE", reason=reason).id

    status, printed, [error] = dead("replay", "--all")

    assert (status, printed) == (1, ["Replayed 3 messages of the queue 'images'."])
    assert f"The dead letter '{bad}' can't be replayed. {reason}" in error
    assert client.dead_letters.ids() == [bad]
    messages = map(Envelope.decode, redis.lrange(QUEUE, 0, -1))
    assert {message.id for message in messages} == good


def test_what_was_not_delivered_to_a_webhook_is_listed_shown_and_posted_again(dead, redis):
    # given
    post = WebhookPost(
        url="https://example.com/hook?token=hidden",
        body=json.dumps({"task_id": "t-1", "status": "SUCCESS", "result": 100 * "x"}),
        task="clip.classify",
        task_id="t-1",
    )
    tried = post.failed(1763730000.0, "clip@one").failed(1763730060.0, "clip@two")
    letter = tried.dead_letter("msg_1", "the server answered with status 500", 1763730100.0)
    redis.hset(dead_key(QUEUE), letter.id, letter.encode())
    redis.zadd(dead_index_key(QUEUE), {letter.id: letter.died_at})
    reason = (
        "The result of task 't-1' was not delivered to the webhook 'https://example.com/hook?...' "
        "in 2 attempts: the server answered with status 500."
    )
    # then
    [_, row] = dead("list")[1]
    assert row.split(maxsplit=6)[2:6] == ["msg_1", "clip.classify", "WEBHOOK_UNDELIVERED", "2"]
    status, shown, _ = dead("show", "msg_1")
    assert status == 0
    assert shown[3:] == [
        "code       WEBHOOK_UNDELIVERED",
        f"reason     {reason}",
        "history    1. post on clip@one, started 2025-11-21 13:00:00 UTC",
        "           2. post on clip@two, started 2025-11-21 13:01:00 UTC",
        "webhook    'https://example.com/hook?...'",
        f"body       {post.body[:80]}...",
    ]
    assert dead("replay", "msg_1") == (0, ["Replayed 1 message of the queue 'images'."], [])
    assert redis.zrange(f"clip-worker:{QUEUE}:webhooks", 0, -1, withscores=True) == [(b"msg_1", 0)]
    stored = redis.hget(f"clip-worker:{QUEUE}:webhook-posts", "msg_1")
    assert WebhookPost.decode(stored) == post
    assert redis.llen(QUEUE) == 0


def test_purging_has_to_be_confirmed(dead, client, redis, letter):
    first, second = letter().id, letter().id
    status, _, [error] = dead("purge", first)
    assert status == 2
    assert "would delete 1 of the 2 dead letters" in error
    assert len(client.dead_letters) == 2
    assert dead("purge", "--yes", first) == (0, ["Deleted 1 message."], [])
    assert client.dead_letters.ids() == [second]
    with pytest.raises(ServiceError, match="2 workers"):
        client.handle(first).get(5)
    assert dead("purge", "--all", "--yes")[0] == 0
    assert (client.dead_letters.ids(), redis.llen(QUEUE)) == ([], 0)


@pytest.mark.parametrize("command", [["show"], ["replay"], ["purge", "--yes"]])
def test_an_unknown_id_is_reported(dead, command):
    status, _, errors = dead(*command, "nobody")
    assert status == 1
    assert "There is no dead letter 'nobody'" in errors[-1]


@pytest.mark.parametrize("command", ["replay", "purge"])
@pytest.mark.parametrize("chosen", [[], ["--all", "some-id"]])
def test_either_ids_or_all_must_be_given(dead, command, chosen):
    status, _, [error] = dead(command, *chosen)
    assert status == 2
    assert "Give the ids of dead letters, or --all, but not both" in error


def test_an_unreachable_redis_is_named(monkeypatch, capsys):
    monkeypatch.setattr("redis.retry.sleep", lambda _: None)
    assert run(["dead", "list", "--redis-url", "redis://127.0.0.1:1/0"]) == 1
    assert "Redis at redis://127.0.0.1:1/0 can't be used" in capsys.readouterr().err
