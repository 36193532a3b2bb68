"""A worker with signing keys takes signed messages, and no others."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from celery import Celery, chain, chord
from celery.signals import before_task_publish
from support.messages import message
from support.redis_server import new_server
from support.waiting import wait_until
from support.webhook_receiver import SECRET, receiver
from support.worker_process import WorkerProcess

from clip_worker import Client, sign_tasks
from clip_worker.client.sign_tasks import RECEIVER
from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX
from clip_worker.contract.signatures import BAD_SIGNATURE, SIGNATURE_HEADER, SigningKey
from clip_worker.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
LABELS = ["red", "blue"]
OLD, NEW = "0f" * 32, "1e" * 32
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with new_server() as server:
        yield server.url


@pytest.fixture(scope="module", autouse=True)
def worker(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    settings = {
        "signing_keys": f"{NEW},{OLD}",
        "webhook_secret": SECRET,
        "allow_networks": "127.0.0.0/8",
    }
    root = tmp_path_factory.getbasetemp()
    with WorkerProcess(redis_url, root, name="signing", **settings) as worker:
        yield worker
        assert OLD not in worker.log
        assert NEW not in worker.log


@pytest.mark.parametrize("keys", [NEW, OLD, f"{NEW},{OLD}"])
def test_a_client_with_a_key_is_served(redis_url: str, image: str, keys: str) -> None:
    with Client(redis_url, signing_keys=keys) as client:
        assert client.classify(image, LABELS, expires_s=LIMIT_S).get(LIMIT_S).predictions
        [(_, outcome)] = client.classify_many([image], LABELS, timeout=LIMIT_S)
        assert outcome.status == "ok"


def test_a_client_without_one_is_told_and_its_webhook_is_not_posted_to(
    redis_url: str, image: str
) -> None:
    with receiver() as hooks, Client(redis_url) as client:
        handle = client.classify(image, LABELS, webhook=hooks.url())
        with pytest.raises(InvalidRequestError, match="is not signed") as caught:
            handle.get(LIMIT_S)
        assert caught.value.code == BAD_SIGNATURE
        [letter] = client.dead_letters.newest(1)
        assert (letter.id, letter.code) == (handle.id, BAD_SIGNATURE)
        assert not hooks.received


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_chains_chords_and_callbacks_of_stock_celery_are_signed_to_their_end(
    plain: Celery, image: str
) -> None:
    step = plain.signature("clip.classify", args=(image, LABELS), immutable=True)
    sign_tasks(NEW)
    try:
        sent = [
            step.clone(options={"countdown": 0.1}),
            step.clone(options={"link": step.clone()}),
            chain(step.clone(), step.clone(), step.clone()),
            chord([step.clone(), step.clone()], step.clone(), app=plain),
        ]
        results = [each.apply_async() for each in sent]
    finally:
        before_task_publish.disconnect(dispatch_uid=RECEIVER)
    for result in results:
        assert result.get(LIMIT_S)["predictions"]


def test_an_operator_with_a_key_replays_what_was_too_old(
    redis_url: str, broker: redis.Redis, image: str
) -> None:
    # given a message that was signed two days ago
    old = message("old", args=(image, LABELS))
    body = json.dumps([[image, LABELS], {}, {}])
    old |= {"body": body}
    old["properties"].pop("body_encoding", None)
    key, then = SigningKey.parse(OLD), time.time() - 2 * DAY_S
    old["headers"][SIGNATURE_HEADER] = key.sign(old["headers"], body.encode(), DEFAULT_QUEUE, then)
    broker.lpush(DEFAULT_QUEUE, json.dumps(old))
    with Client(redis_url, signing_keys=f"{NEW},{OLD}") as client:
        with pytest.raises(InvalidRequestError, match="longer than the 86400 s"):
            client.handle("old").get(LIMIT_S)
        # when
        assert client.dead_letters.replay(["old"]) == []
        # then
        wait_until(lambda: b"SUCCESS" in (broker.get(RESULT_PREFIX + "old") or b""))
        # and what nobody has signed is not signed for whoever sent it
        broker.lpush(DEFAULT_QUEUE, json.dumps(message("forged", args=(image, LABELS))))
        wait_until(lambda: client.dead_letters.get("forged"))
        with pytest.raises(InvalidRequestError, match="can't be replayed: it is not signed"):
            client.dead_letters.replay(["forged"])


def test_a_worker_on_kombus_transport_does_not_start_with_keys(redis_url, tmp_path):
    worker = WorkerProcess(redis_url, tmp_path, name="stock", queue_path="stock", signing_keys=NEW)
    worker.start()
    try:
        assert worker.wait_for_end(LIMIT_S) != 0
        assert "kombu's transport verifies no signatures" in worker.log
    finally:
        worker.kill()
