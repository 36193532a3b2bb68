"""Webhooks of real workers: results are posted, again if need be, and none is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery
from support.redis_server import new_server
from support.scripted_server import response
from support.waiting import wait_until
from support.webhook_receiver import BROKEN, OK, SECRET, Receiver, receiver
from support.worker_process import READY, WorkerProcess

from clip_worker import Classification, Client, InvalidRequestError, ServiceError, WebhookEvent
from clip_worker.client.image_request import ImageRequest
from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys
from clip_worker.redis.dead_letters import UNDELIVERED

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    from support.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red", "blue"]
KEYS = QueueKeys(DEFAULT_QUEUE)


@pytest.fixture(scope="module")
def queue_server() -> Iterator[RedisServer]:
    with new_server() as server:
        yield server


@pytest.fixture(scope="module")
def redis_url(queue_server: RedisServer) -> str:
    """Of the Redis that all of these tests share, with their worker."""
    return queue_server.url


@pytest.fixture(scope="module")
def worker(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker that may post to this machine, and does not wait long before it tries again."""
    settings = {
        "webhook_secret": SECRET,
        "webhook_retry_s": "0.05",
        "webhook_attempts": "100",
        "allow_networks": "127.0.0.0/8",
    }
    folder = tmp_path_factory.getbasetemp()
    with WorkerProcess(redis_url, folder, name="webhooks", **settings) as worker:
        worker.wait_for_log(" ready.")
        yield worker
        assert "hidden" not in worker.log  # the token in the URL
        assert SECRET not in worker.log


@pytest.fixture
def hooks(worker: WorkerProcess) -> Iterator[Receiver]:
    with receiver() as hooks:
        yield hooks


def event_of(hooks: Receiver, task_id: str) -> WebhookEvent:
    """The first event of a task, once it has come."""
    wait_until(lambda: hooks.events(task_id))
    return hooks.events(task_id)[0]


def wait_until_settled(broker: redis.Redis) -> None:
    wait_until(lambda: broker.zcard(KEYS.webhooks) == 0)


def test_a_result_is_posted_as_the_client_reads_it(
    client: Client, hooks: Receiver, image: str
) -> None:
    scores = {"score": "cosine", "none_of_these": True}
    requests = [image, ImageRequest(image=image, **scores), image]
    handles = client.submit_many(requests, LABELS, webhook=hooks.url())
    for handle in handles:
        event = event_of(hooks, handle.id)
        assert (event.status, event.error) == ("SUCCESS", None)
        assert event.result == handle.get(timeout=60)
    assert len({event_of(hooks, handle.id).id for handle in handles}) == 3


def test_each_image_may_have_a_webhook_of_its_own(
    client: Client, hooks: Receiver, image: str
) -> None:
    requests = [ImageRequest(image=image, webhook=hooks.url(f"/hooks/{i}")) for i in range(3)]
    for handle in client.submit_many(requests, LABELS):
        assert event_of(hooks, handle.id).status == "SUCCESS"
    assert {each.path for each in hooks.received} == {"/hooks/0", "/hooks/1", "/hooks/2"}


def test_celerys_way_posts_the_same_and_every_end_of_a_task_is_posted(
    plain: Celery, hooks: Receiver, image: str
) -> None:
    # given tasks of our queue path, and those that Celery runs: with a callback, a time limit
    url = {"webhook": hooks.url()}
    many = plain.send_task("clip.classify_many", ([image, "cat.jpg"], LABELS), url)
    callback = plain.signature("clip.classify", (image, LABELS), immutable=True)
    linked = plain.send_task("clip.classify", (image, LABELS), url, link=callback)
    failures = {
        "FILE_OUTSIDE_ROOTS": ("clip.classify", ("file:///nowhere.jpg", LABELS), {}),
        "DUPLICATE_LABEL": ("clip.classify", (image, ["a", "a"]), {"time_limit": 60}),
        "NO_LABELS": ("clip.classify_many", ([image],), {"time_limit": 60}),
        "INTERNAL": ("clip.classify", (image, LABELS, 7), {"time_limit": 60}),
        "EXPIRED": ("clip.classify", (image, LABELS), {"expires": 0.001, "countdown": 1}),
    }
    failing = {
        plain.send_task(task, args, url, **options).id: code
        for code, (task, args, options) in failures.items()
    }
    # then
    outcomes = event_of(hooks, many.id).result
    assert isinstance(outcomes, tuple)
    assert [each.status for each in outcomes] == ["ok", "error"]
    result = event_of(hooks, linked.id).result
    assert result == Classification.model_validate(linked.get(timeout=60))
    for task_id, code in failing.items():
        error = event_of(hooks, task_id).error
        assert error is not None
        assert error.code == code


def test_a_receiver_that_is_down_gets_the_same_event_again_until_it_is_up(
    client: Client, hooks: Receiver, image: str, broker: redis.Redis
) -> None:
    hooks.answer = BROKEN
    handle = client.classify(image, LABELS, webhook=hooks.url())
    wait_until(lambda: len(hooks.events(handle.id)) >= 2)
    assert broker.zcard(KEYS.webhooks) == 1
    hooks.answer = OK
    wait_until_settled(broker)
    assert len({event.id for event in hooks.events(handle.id)}) == 1
    assert len(client.dead_letters) == 0


def test_what_can_not_be_delivered_is_a_dead_letter_that_a_replay_posts_again(
    client: Client, hooks: Receiver, image: str, worker: WorkerProcess, broker: redis.Redis
) -> None:
    hooks.answer = response(status="410 Gone")
    handle = client.classify(image, LABELS, webhook=hooks.url())
    wait_until(lambda: len(client.dead_letters))
    [letter] = client.dead_letters.newest(5)
    assert (letter.code, len(letter.history)) == (UNDELIVERED, 1)
    assert handle.id in letter.reason
    worker.wait_for_log(f"Webhook {letter.id} became a dead letter")
    assert handle.get(timeout=60)  # the result is what it was
    # when
    hooks.answer = OK
    client.dead_letters.replay([letter.id])
    # then
    wait_until_settled(broker)
    assert [event.id for event in hooks.events(handle.id)] == [letter.id] * 2
    assert len(client.dead_letters) == 0


def test_a_private_address_that_is_not_opened_is_a_dead_letter_at_once(
    client: Client, worker: WorkerProcess, image: str
) -> None:
    handle = client.classify(image, LABELS, webhook="http://10.0.0.1/hook")
    wait_until(lambda: len(client.dead_letters))
    [letter] = client.dead_letters.newest(5)
    assert "its host is not on the public internet" in letter.reason
    assert handle.get(timeout=60)
    client.dead_letters.purge([letter.id])


def test_a_worker_counts_its_webhooks(
    client: Client, hooks: Receiver, image: str, plain: Celery, broker: redis.Redis
) -> None:
    client.classify(image, LABELS, webhook=hooks.url()).get(timeout=60)
    wait_until_settled(broker)
    found: dict[str, dict[str, dict[str, int]]] = {}
    wait_until(lambda: found.update(plain.control.inspect(timeout=1).stats() or {}) or found)
    [stats] = found.values()
    assert stats["webhooks"].keys() == {"waiting", "posted", "retried", "failed"}
    assert stats["webhooks"]["posted"] > 0


def test_what_a_killed_worker_was_posting_another_one_posts(
    client: Client, hooks: Receiver, image: str, worker: WorkerProcess, broker: redis.Redis
) -> None:
    # given a worker that is killed after it has stored the result, before the receiver answers
    hooks.go.clear()
    handle = client.classify(image, LABELS, webhook=hooks.url())
    wait_until(lambda: hooks.events(handle.id))
    assert handle.get(timeout=60)
    worker.kill()
    hooks.go.set()
    # when its claim lapses, and another one is there
    [event_id] = broker.zrange(KEYS.webhooks, 0, -1)
    broker.zadd(KEYS.webhooks, {event_id: 0})
    worker.start()
    worker.wait_for_log(READY)
    # then
    wait_until_settled(broker)
    assert [event.id for event in hooks.events(handle.id)] == [event_id.decode()] * 2


def test_a_webhook_that_can_not_be_one_is_refused_by_the_client(client: Client, image: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not an http or https URL"):
        client.classify(image, LABELS, webhook="ftp://example.com/")


@pytest.mark.parametrize("task", ["clip.classify", "clip.classify_many"])
@pytest.mark.parametrize("options", [{}, {"time_limit": 60}], ids=["", "by Celery"])
def test_a_worker_without_a_secret_fails_the_task_with_one_sentence(
    shared_worker: WorkerProcess, image: str, task: str, options: dict[str, int]
) -> None:
    kwargs = {"labels": LABELS, "webhook": "https://example.com/hook"}
    kwargs |= {"image": image} if task == "clip.classify" else {"images": [image]}
    url = shared_worker.redis
    # without a backend: Celery would subscribe to the result, and leave the connection open
    with Celery(broker=url, set_as_current=False) as app, Client(url) as client:
        sent = app.send_task(task, kwargs=kwargs, queue=DEFAULT_QUEUE, **options)
        with pytest.raises(ServiceError, match="has no secret to sign with; set CLIP_WORKER_WEB"):
            client.handle(sent.id).get(timeout=60)
