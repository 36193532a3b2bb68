"""Each end that a task with a webhook can come to writes one post, in the step that ends it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as LostConnectionError
from support.messages import message
from support.queue_state import KEYS, unacked
from support.waiting import wait_until

from clip_worker.contract.message_reader import Envelope
from clip_worker.errors import ImageUnavailableError, ServiceError
from worker.delivery.acks import Acks
from worker.delivery.dead_lettering import poison, unreadable
from worker.delivery.delivery import Ack, Crash, Delivery
from worker.delivery.in_flight import InFlight
from worker.delivery.policy import DeliveryPolicy
from worker.delivery.redis_queue import RedisQueue
from worker.runtime.webhook_assembly import webhook_of
from worker.webhooks.post import WebhookPost, error_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

pytestmark = pytest.mark.integration

URL = "https://example.com/hooks?token=hidden"
NOT_FOUND = ImageUnavailableError("It is not there.", "FETCH_404")
PAST = "2020-01-01T00:00:00+00:00"


class Bench:
    """A worker's queue and acks, and what it was told of posts."""

    def __init__(self, server: redis.Redis) -> None:
        self.told = 0
        self.server = server
        self.queue = RedisQueue(server, KEYS, lease_s=10, result_ttl_s=60, posts_due=self._tell)
        policy = DeliveryPolicy(
            tasks=("clip.classify", "clip.classify_many"),
            max_deliveries=2,
            task_timeout_s=60,
            revoked={"revoked"},
            webhook_of=webhook_of,
        )
        self.acks = Acks(policy, InFlight(), lambda _ended: None)
        self.acks.writer.start()

    def _tell(self) -> None:
        self.told += 1

    def take(
        self, task_id: str = "t", webhook: Any = URL, task: str = "clip.classify", **headers: Any
    ) -> Delivery:
        headers["task"] = task
        sent = message(task_id, kwargs={"webhook": webhook}, headers=headers)
        self.server.lpush(KEYS.queue, json.dumps(sent))
        [delivery] = self.queue.take(1)
        delivery.envelope = Envelope.decode(delivery.message)
        return delivery

    def bodies(self) -> list[dict[str, Any]]:
        """What is to be posted, once all messages have ended."""
        wait_until(lambda: unacked(self.server, KEYS) == 0)
        posts = map(WebhookPost.decode, self.server.hvals(KEYS.webhook_posts))
        return [json.loads(post.body) for post in posts]


@pytest.fixture
def bench(server: redis.Redis) -> Iterator[Bench]:
    bench = Bench(server)
    yield bench
    bench.acks.writer.stop(60)


def failed(kind: str, code: str, text: str) -> dict[str, Any]:
    return {
        "task_id": "t",
        "status": "FAILURE",
        "error": {"type": kind, "code": code, "message": text},
    }


POISON = ServiceError("It killed its worker.", "POISON")
ENDS: dict[str, tuple[Callable[[Acks, Delivery], object], dict[str, Any]]] = {
    "success": (
        lambda acks, each: acks.succeed(each, '{"model": "ü"}'),
        {"task_id": "t", "status": "SUCCESS", "result": {"model": "ü"}},
    ),
    "failure, or time-out": (
        lambda acks, each: acks.fail(each, NOT_FOUND),
        failed("ImageUnavailableError", "FETCH_404", "It is not there."),
    ),
    "another exception": (
        lambda acks, each: acks.fail(each, KeyError("https://u:secret@example.com/")),
        failed("KeyError", "INTERNAL", "'https://***@example.com/'"),
    ),
    "poison": (
        lambda acks, each: acks.dead_letter(each, POISON),
        failed("ServiceError", "POISON", "It killed its worker."),
    ),
    "refused by Celery": (
        lambda acks, each: acks.dead_letter(each, unreadable(ValueError("no ETA"))),
        failed("InvalidRequestError", "UNREADABLE", "The message can't be read: no ETA."),
    ),
    "rejected": (
        lambda acks, each: acks.reject(each),
        failed("ServiceError", "REJECTED", "The task raised Reject, or Celery refused it."),
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("ignored", [False, True], ids=["", "result ignored"])
def test_each_end_is_posted_once_even_where_the_result_is_ignored(
    bench: Bench, end: str, ignored: object
) -> None:
    call, body = ENDS[end]
    delivery = bench.take(ignore_result=ignored)

    call(bench.acks, delivery)
    call(bench.acks, delivery)  # only the first end counts

    assert bench.bodies() == [body]
    wait_until(lambda: bench.told)
    assert bench.told == 1
    [event_id] = bench.server.zrangebyscore(KEYS.webhooks, "-inf", time.time() + 60)
    [stored] = bench.server.hgetall(KEYS.webhook_posts).items()
    assert stored[0] == event_id
    post = WebhookPost.decode(stored[1])
    assert (post.url, post.task, post.task_id, post.attempts) == (URL, "clip.classify", "t", ())


@pytest.mark.parametrize(
    ("task_id", "headers", "error"),
    [
        ("revoked", {}, ("TaskRevokedError", "REVOKED", "The task was revoked.")),
        (
            "t",
            {"expires": PAST},
            ("TaskRevokedError", "EXPIRED", "The task expired before it ran."),
        ),
    ],
)
@pytest.mark.parametrize("by_celery", [False, True], ids=["", "by Celery"])
def test_a_task_that_is_not_run_is_posted_as_a_failure(
    bench: Bench, task_id: str, headers: dict[str, Any], error: tuple[str, ...], by_celery: object
) -> None:
    delivery = bench.take(task_id, **headers)
    if by_celery:  # which has stored that it was revoked
        bench.acks.acknowledge(delivery)
    else:
        assert not bench.acks.is_wanted(delivery)
    assert bench.bodies() == [failed(*error) | {"task_id": task_id}]


def test_of_a_task_that_celery_ran_what_it_noted_is_posted(bench: Bench) -> None:
    delivery = bench.take()
    delivery.event_body = error_body("t", NOT_FOUND)
    bench.acks.acknowledge(delivery)
    assert bench.bodies() == [failed("ImageUnavailableError", "FETCH_404", "It is not there.")]


def test_poison_of_a_real_history_is_posted(bench: Bench) -> None:
    delivery = bench.take(task="clip.classify_many")
    delivery.crashes = (Crash(1.0, 1, "w"), Crash(1.0, 1, "w"))
    bench.acks.dead_letter(delivery, poison(delivery))
    [body] = bench.bodies()
    assert body["error"]["code"] == "POISON"


@pytest.mark.parametrize(
    "webhook", [None, "", 7, [URL], "ftp://example.com/", "https://u:p@x.org/"]
)
def test_what_is_no_webhook_is_not_posted_to(bench: Bench, webhook: Any) -> None:
    bench.acks.succeed(bench.take(webhook=webhook), "1")
    assert bench.bodies() == []
    assert bench.told == 0


def test_a_task_of_the_application_may_have_an_argument_of_that_name(bench: Bench) -> None:
    bench.acks.acknowledge(bench.take(task="orders.notify"))
    assert bench.bodies() == []


def test_what_goes_back_or_was_sent_twice_is_not_posted(bench: Bench) -> None:
    bench.acks.give_back(bench.take("given-back"))
    bench.acks.acknowledge_copies([bench.queue.take(1)[0]])
    assert bench.bodies() == []


def test_a_reply_that_was_lost_posts_nothing_twice_and_a_lost_lease_nothing_at_all(
    bench: Bench,
) -> None:
    delivery = bench.take()
    post = WebhookPost(url=URL, body="1", task="clip.classify", task_id="t")
    ack = Ack(delivery, "key", '{"status": "SUCCESS"}', post=post)
    assert bench.queue.finish(bench.queue.lease, [ack]) == [True]
    assert bench.queue.finish(bench.queue.lease, [ack]) == [True]
    assert bench.server.zcard(KEYS.webhooks) == 1

    lost = bench.take("lost")
    bench.queue.requeue(bench.queue.lease, [lost.tag])
    assert bench.queue.finish(bench.queue.lease, [ack._replace(delivery=lost, key="other")]) == [
        False
    ]
    assert bench.server.zcard(KEYS.webhooks) == 1


def test_a_failure_of_a_second_copy_is_not_posted_after_the_success(bench: Bench) -> None:
    for end in ("succeed", "fail"):
        delivery = bench.take()
        getattr(bench.acks, end)(delivery, "1" if end == "succeed" else NOT_FOUND)
        wait_until(lambda: unacked(bench.server, KEYS) == 0)
    assert [body["status"] for body in bench.bodies()] == ["SUCCESS"]


def test_a_worker_that_looks_for_lapsed_leases_is_told_of_what_is_due(bench: Bench) -> None:
    bench.server.zadd(KEYS.webhooks, {"later": time.time() + 1000})
    bench.queue.reap(5.0)
    assert bench.told == 0
    bench.server.zadd(KEYS.webhooks, {"due": 1})
    bench.queue.reap(5.0)
    assert bench.told == 1


def test_while_redis_is_away_the_result_and_its_post_wait_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = bench.take()
    run, failing = bench.queue.run, [LostConnectionError("Connection reset")]

    def fail_once(*call: Any) -> Any:
        if failing:
            raise failing.pop()
        return run(*call)

    monkeypatch.setattr(bench.queue, "run", fail_once)
    bench.acks.succeed(delivery, "1")
    assert [body["result"] for body in bench.bodies()] == [1]
    assert bench.server.exists("celery-task-meta-t")
