"""The script that ends messages: how long results are kept, and what goes with its last user."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from support.messages import message
from support.queue_state import KEYS, unacked

from clip_worker.contract.keys import upload_key, upload_users_key
from clip_worker.contract.message_reader import Envelope
from clip_worker.errors import ImageUnavailableError, ServiceError
from worker.delivery.acks import Acks
from worker.delivery.delivery import Ack, Delivery
from worker.delivery.in_flight import InFlight
from worker.delivery.policy import DeliveryPolicy
from worker.runtime.queue_assembly import result_ttl_of, uploads_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from worker.delivery.redis_queue import RedisQueue

pytestmark = pytest.mark.integration

DIGEST = 64 * "a"
DATA, USERS = upload_key(DIGEST), upload_users_key(DIGEST)
URI = f"redis://uploads/{DIGEST}"
SUCCESS = '{"status": "SUCCESS", "result": 1}'
FAILURE = '{"status": "FAILURE", "result": 2}'


@pytest.fixture
def policy() -> DeliveryPolicy:
    """As a worker's, as far as images matter."""
    return DeliveryPolicy(
        tasks=("clip.classify", "clip.classify_many"),
        max_deliveries=2,
        task_timeout_s=60,
        revoked={"revoked"},
        uses_of=uploads_of,
        result_ttl_of=result_ttl_of,
    )


@pytest.fixture
def acks(policy: DeliveryPolicy) -> Acks:
    """Ends deliveries; its writer is started."""
    acks = Acks(policy, InFlight(), lambda _ended: None)
    acks.writer.start()
    return acks


def _store(server: redis.Redis, *users: str, digest: str = DIGEST) -> None:
    server.set(upload_key(digest), "picture", px=60_000)
    server.sadd(upload_users_key(digest), *users)


def _take(
    server: redis.Redis,
    queue: RedisQueue,
    task_id: str = "t",
    task: str = "clip.classify",
    **kwargs: Any,
) -> Delivery:
    headers = {"task": task} | kwargs.pop("headers", {})
    server.lpush(KEYS.queue, json.dumps(message(task_id, kwargs=kwargs, headers=headers)))
    [delivery] = queue.take(1)
    delivery.envelope = Envelope.decode(delivery.message)
    return delivery


@pytest.mark.parametrize(
    ("users", "used", "left"),
    [
        (["t"], [(DATA, "t")], set()),
        (["t", "claim"], [(DATA, "t"), (DATA, "claim")], set()),
        (["claim"], [(DATA, "t"), (DATA, "claim")], set()),  # a producer that registers no task
        (["t", "claim"], [(DATA, "t")], {b"claim"}),  # another client has uploaded the same bytes
        (["t", "keep"], [(DATA, "t"), (DATA, "claim")], {b"keep"}),
        (["other"], [(DATA, "t")], {b"other"}),
    ],
)
def test_an_upload_is_dropped_with_its_last_user(
    server: redis.Redis,
    queue: RedisQueue,
    users: list[str],
    used: list[tuple[str, str]],
    left: set[bytes],
) -> None:
    _store(server, *users)
    delivery = _take(server, queue)

    assert queue.finish(queue.lease, [Ack(delivery, "key", SUCCESS, uses=used)]) == [True]

    assert server.smembers(USERS) == left
    assert server.exists(DATA) == bool(left)
    assert server.get("key") == SUCCESS.encode()


def test_an_upload_of_another_producers_own_stays_for_its_lifetime(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.set(DATA, "picture", px=60_000)  # nobody has noted who uses it

    queue.finish(queue.lease, [Ack(_take(server, queue), uses=[(DATA, "t"), (DATA, "claim")])])

    assert server.exists(DATA)


def test_what_a_lost_lease_or_a_lost_reply_repeats_drops_nothing(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given a message that has gone to another worker
    lost = _take(server, queue)
    queue.requeue(queue.lease, [lost.tag])
    [again] = queue.take(1)
    _store(server, "t")

    assert queue.finish(queue.lease, [Ack(lost, "key", SUCCESS, uses=[(DATA, "t")])]) == [False]
    assert server.exists(DATA)

    # and one whose finish is sent twice, after the same id was sent again
    done = [Ack(again, "key", SUCCESS, uses=[(DATA, "t")])]
    assert queue.finish(queue.lease, done) == [True]
    assert not server.exists(DATA)
    _store(server, "t")
    assert queue.finish(queue.lease, done) == [True]
    assert server.exists(DATA)


@pytest.mark.parametrize(("asked", "kept_s"), [(None, 60), (7, 7), (0, 1), (3600, 60)])
def test_a_result_is_kept_as_long_as_asked_and_at_most_as_long_as_the_worker_keeps_results(
    server: redis.Redis, queue: RedisQueue, asked: int | None, kept_s: int
) -> None:
    usual, own = _take(server, queue, "1"), _take(server, queue, "2")

    queue.finish(queue.lease, [Ack(own, "own", SUCCESS, asked), Ack(usual, "usual", SUCCESS)])

    assert kept_s - 1 <= server.ttl("own") <= kept_s
    assert 58 <= server.ttl("usual") <= 60


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [
        (SUCCESS, FAILURE, SUCCESS),  # the message came twice; now its upload is gone
        (FAILURE, SUCCESS, SUCCESS),
        (FAILURE, FAILURE + " ", FAILURE + " "),
        (SUCCESS, SUCCESS + " ", SUCCESS + " "),
    ],
)
def test_a_failure_does_not_replace_a_success_as_with_celery(
    server: redis.Redis, queue: RedisQueue, first: str, then: str, kept: str
) -> None:
    for result in (first, then):
        delivery = _take(server, queue)
        assert queue.finish(queue.lease, [Ack(delivery, "key", result)]) == [True]

    assert server.get("key") == kept.encode()
    assert unacked(server, KEYS) == 0


ENDS: dict[str, tuple[Callable[[Acks, Delivery], object], bool]] = {
    "success": (lambda acks, delivery: acks.succeed(delivery, "1"), True),
    "failure": (lambda acks, delivery: acks.fail(delivery, ServiceError("It.")), True),
    "acknowledged by Celery": (lambda acks, delivery: acks.acknowledge(delivery), True),
    "revoked": (lambda acks, delivery: acks.is_wanted(delivery), True),
    "a copy of one in flight": (lambda acks, delivery: acks.acknowledge_copies([delivery]), False),
    "requeued": (lambda acks, delivery: acks.give_back(delivery), False),
    "parked": (lambda acks, delivery: acks.park(delivery, 60), False),
    "dropped": (lambda acks, delivery: acks.drop(delivery), False),
    "dead letter": (lambda acks, d: acks.dead_letter(d, ServiceError("It.")), False),
    "rejected": (lambda acks, delivery: acks.reject(delivery), False),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("task", ["clip.classify", "clip.classify_many", "users.task"])
def test_an_upload_is_dropped_when_its_task_ends_and_kept_while_it_may_run_again(
    server: redis.Redis, queue: RedisQueue, acks: Acks, end: str, task: str
) -> None:
    act, is_end = ENDS[end]
    digests = [DIGEST, 64 * "b"] if task == "clip.classify_many" else [DIGEST]
    for digest in digests:
        _store(server, "revoked", "claim", digest=digest)
    uris = [f" redis://uploads/{digest}#claim" for digest in digests]
    images: dict[str, Any] = {"images": [*uris, "cat.jpg", 7], "image": uris[0]}
    delivery = _take(server, queue, "revoked", task, **images)

    act(acks, delivery)
    acks.writer.stop(5)

    is_dropped = is_end and task != "users.task"
    assert server.keys("clip-worker:upload:*") == [] or not is_dropped
    assert server.exists(*map(upload_key, digests)) == (0 if is_dropped else len(digests))


def test_an_image_that_is_given_by_position_is_used_too(
    server: redis.Redis, queue: RedisQueue, acks: Acks
) -> None:
    server.lpush(KEYS.queue, json.dumps(message("t", args=(URI, ["cat"]))))
    _store(server, "t")
    [delivery] = queue.take(1)
    delivery.envelope = Envelope.decode(delivery.message)

    acks.fail(delivery, ImageUnavailableError("It."))
    acks.writer.stop(5)

    assert server.keys("clip-worker:upload:*") == []


@pytest.mark.parametrize("end", ["success", "failure", "revoked", "dead letter"])
@pytest.mark.parametrize(("task", "kept_s"), [("clip.classify", 9), ("users.task", 60)])
def test_each_result_of_our_tasks_is_kept_as_long_as_they_ask(
    server: redis.Redis, queue: RedisQueue, acks: Acks, end: str, task: str, kept_s: int
) -> None:
    delivery = _take(server, queue, "revoked", task, result_ttl_s=9)

    ENDS[end][0](acks, delivery)
    acks.writer.stop(5)

    assert kept_s - 1 <= server.ttl("celery-task-meta-revoked") <= kept_s


@pytest.mark.parametrize(
    "image",
    [None, True, math.nan, math.inf, -1, "", "redis:", f"{URI}/", f"{URI}#", f"{URI}#a b", []],
)
def test_an_image_of_any_form_can_be_asked_for_what_it_uses(
    server: redis.Redis, queue: RedisQueue, image: object
) -> None:
    for task, kwargs in (
        ("clip.classify", {"image": image}),
        ("clip.classify_many", {"images": image}),
        ("clip.classify_many", {"images": [image]}),
        ("clip.classify", {"result_ttl_s": image}),
    ):
        delivery = _take(server, queue, "t", task, **kwargs)
        assert (list(uploads_of(delivery)), result_ttl_of(delivery)) == ([], None)
