"""`clip-worker dead`, on a real Redis with the letters that a worker would write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from worker.cli.entry import run
from worker.client import Client
from worker.contract.keys import dead_index_key, dead_key
from worker.errors import ResultTimeoutError, ServiceError
from worker.redis.dead_letters import DeadLetter, Incident

if TYPE_CHECKING:
    from worker.client.handle import Handle

pytestmark = [
    pytest.mark.integration,
    # Celery's backend, which these tests store results with
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
]

QUEUE = "pictures"
LABELS = [f"label {n}" for n in range(50)]
REASON = "Each of 2 workers that began it died."


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url, queue=QUEUE) as client:
        yield client


@pytest.fixture
def dead(redis_url: str) -> Callable[..., int]:
    """`dead COMMAND ...`; its status."""
    where = ["--redis-url", redis_url, "--queue", QUEUE]
    return lambda command, *arguments: run(["dead", command, *where, *arguments])


@pytest.fixture
def redis(client: Client) -> Redis:
    return client._redis


def kill(client: Client, image: str, died_at: float = 1763730100.0) -> Handle[object]:
    """Send a task, take it, and give it up as a worker does."""
    handle = client.classify(image, LABELS)
    letter = DeadLetter(
        id=handle.id,
        task="clip.classify",
        reason=REASON,
        code="POISON",
        died_at=died_at,
        history=(
            Incident(kind="crash", at=1763730000.0, worker="clip@one", together=8),
            Incident(kind="crash", at=1763730060.0, worker="clip@two", together=1),
        ),
        message=client._redis.rpop(QUEUE).decode(),
    )
    client._redis.hset(dead_key(QUEUE), handle.id, letter.encode())
    client._redis.zadd(dead_index_key(QUEUE), {handle.id: died_at})
    client._app.backend.store_result(handle.id, ServiceError(REASON, "POISON"), "FAILURE")
    return handle


def test_without_dead_letters_that_is_said(
    dead: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dead("list") == 0
    assert capsys.readouterr().out == "The queue 'pictures' has no dead letters.\n"


def test_the_newest_are_listed_first_with_why_they_died(
    dead: Callable[..., int], client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [kill(client, "data:,x", 1763730100.0 + n).id for n in range(3)]
    assert dead("list", "--limit", "2") == 0
    heading, *rows, rest = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0] == "died (UTC)"
    assert [row.split()[2] for row in rows] == [ids[2], ids[1]]
    assert rows[0].split(maxsplit=6)[:2] == ["2025-11-21", "13:01:42"]
    assert rows[0].split(maxsplit=6)[3:] == ["clip.classify", "POISON", "2", REASON]
    assert rest == "... and 1 older ones; --limit 3 lists them all."


def test_as_json_each_letter_is_a_line(
    dead: Callable[..., int], client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = kill(client, "data:,x")
    assert dead("list", "--json") == dead("show", "--json", handle.id) == 0
    listed, shown = map(json.loads, capsys.readouterr().out.splitlines())
    assert listed == shown
    assert (listed["id"], listed["history"][1]["worker"]) == (handle.id, "clip@two")


def test_one_is_shown_with_its_history_and_its_arguments_cut(
    dead: Callable[..., int], client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = kill(client, "data:image/jpeg;base64," + 5000 * "A")
    assert dead("show", handle.id) == 0
    shown = capsys.readouterr().out.splitlines()
    assert f"id         {handle.id}" in shown
    assert f"reason     {REASON}" in shown
    assert (
        "history    1. crash on clip@one, begun 2025-11-21 13:00:00 UTC, 8 messages at a time"
        in shown
    )
    assert "           2. crash on clip@two, begun 2025-11-21 13:01:00 UTC, alone" in shown
    assert (
        "  labels: ['label 0', 'label 1', 'label 2', 'label 3', 'label 4', ... 50 in all]" in shown
    )
    assert any(line.startswith("  image: 'data:image/jpeg;base64,...'") for line in shown)
    assert max(map(len, shown)) <= 100


def test_a_message_that_is_none_is_shown_all_the_same(
    dead: Callable[..., int],
    client: Client,
    redis: Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handle = kill(client, "data:,x")
    letter = DeadLetter.decode(redis.hget(dead_key(QUEUE), handle.id) or b"")
    broken = letter.model_copy(update={"message": "\x1b[31m no JSON"})
    redis.hset(dead_key(QUEUE), handle.id, broken.encode())
    assert dead("show", handle.id) == 0
    out = capsys.readouterr().out
    assert "arguments  can't be read" in out
    assert "\x1b" not in out


def test_a_replayed_task_waits_again_and_may_then_succeed(
    dead: Callable[..., int],
    client: Client,
    redis: Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given a caller who saw the failure
    handle = kill(client, "data:,x")
    with pytest.raises(ServiceError, match="2 workers"):
        client.handle(handle.id).get(5)
    # when
    assert dead("replay", handle.id) == 0
    # then
    assert capsys.readouterr().out == "1 message is on the queue 'pictures' again.\n"
    assert redis.llen(QUEUE) == 1
    assert len(client.dead_letters) == 0
    with pytest.raises(ResultTimeoutError):
        client.handle(handle.id).get(0)


def test_all_are_replayed(
    dead: Callable[..., int],
    client: Client,
    redis: Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(3):
        kill(client, "data:,x")
    assert dead("replay", "--all") == 0
    assert capsys.readouterr().out == "3 messages are on the queue 'pictures' again.\n"
    assert redis.llen(QUEUE) == 3


def test_purging_asks_to_be_sure(
    dead: Callable[..., int],
    client: Client,
    redis: Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handles = [kill(client, "data:,x") for _ in range(2)]
    assert dead("purge", handles[0].id) == 2
    assert "would forget 1 of the 2 dead letters" in capsys.readouterr().err
    assert len(client.dead_letters) == 2
    assert dead("purge", "--yes", handles[0].id) == 0
    assert capsys.readouterr().out == "1 message is forgotten.\n"
    assert client.dead_letters.ids() == [handles[1].id]
    assert dead("purge", "--all", "--yes") == 0
    assert (client.dead_letters.ids(), redis.llen(QUEUE)) == ([], 0)


@pytest.mark.parametrize("command", [["show"], ["replay"], ["purge", "--yes"]])
def test_an_id_that_is_none_is_told(
    dead: Callable[..., int], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dead(*command, "nobody") == 1
    assert "There is no dead letter 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["replay", "purge"])
@pytest.mark.parametrize("chosen", [[], ["--all", "some-id"]])
def test_ids_or_all_and_not_both(
    dead: Callable[..., int], command: str, chosen: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dead(command, *chosen) == 2
    assert "give --all for all of them" in capsys.readouterr().err


def test_a_redis_that_is_away_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("redis.retry.sleep", lambda _: None)
    assert run(["dead", "list", "--redis-url", "redis://127.0.0.1:1/0"]) == 1
    assert "Redis at redis://127.0.0.1:1/0 can't be used" in capsys.readouterr().err


def test_a_message_that_no_worker_can_read_is_not_replayed(
    dead: Callable[..., int], client: Client, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    # given: one that can be replayed, and one that would only come back
    good = kill(client, "data:,x").id
    letter = DeadLetter(
        id="bad",
        task="clip.classify",
        reason="The message can't be read: its header 'eta' is 'soon'.",
        code="UNREADABLE",
        died_at=1.0,
        history=(),
        message="{}",
    )
    redis.hset(dead_key(QUEUE), "bad", letter.encode())
    redis.zadd(dead_index_key(QUEUE), {"bad": 1.0})

    assert dead("replay", "--all") == 1

    printed = capsys.readouterr()
    assert printed.out == "1 message is on the queue 'pictures' again.\n"
    assert "The dead letter 'bad' can't be replayed. The message can't be read" in printed.err
    assert redis.hkeys(dead_key(QUEUE)) == [b"bad"]
    assert redis.llen(QUEUE) == 1
    assert good.encode() in redis.lindex(QUEUE, 0)
