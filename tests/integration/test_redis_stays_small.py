"""What a worker leaves in Redis of uploads and results, once their tasks have ended."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain
from celery.result import AsyncResult
from PIL import Image
from support.queue_state import accuse
from support.waiting import wait_until

from clip_worker import Client, as_completed
from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX, QueueKeys
from clip_worker.errors import ClipWorkerError, ImageUnavailableError
from worker.settings import Settings

if TYPE_CHECKING:
    import redis
    from support.worker_process import WorkerProcess

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
LABELS = ["red", "green"]
KWARGS = {"labels": LABELS, "k": 1}


def picture(number: int) -> bytes:
    """A small image unlike all others."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(file, "PNG")
    return file.getvalue()


def uploads(broker: redis.Redis) -> list[str]:
    return [key.decode() for key in broker.keys("clip-worker:upload:*")]


def code_of(handle: Any) -> str | None:
    """What its task failed with; None if it did not."""
    try:
        handle.get(LIMIT_S)
    except ClipWorkerError as error:
        return error.code
    return None


@pytest.fixture
def end_of(running_worker: WorkerProcess, plain: Celery) -> Any:
    """Sends a task as any Celery producer does, and waits for its end."""
    return lambda *args, **options: plain.send_task(*args, **options).get(LIMIT_S, propagate=False)


def test_uploads_are_deleted_with_their_last_task(
    running_worker: WorkerProcess, client: Client, broker: redis.Redis
) -> None:
    uris = [client.upload(picture(number)) for number in range(60)]
    assert len(uploads(broker)) == 120
    # when they are classified one by one, many at a time, and several in a message
    assert client.classify(uris[0], LABELS).get(LIMIT_S).predictions
    done = list(as_completed(client.submit_many(uris[1:20], LABELS), timeout=LIMIT_S))
    outcomes = dict(client.classify_many(uris[20:], LABELS, chunk=7, timeout=LIMIT_S))
    # then
    assert len(done) == 19
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    wait_until(lambda: not uploads(broker))
    assert len(broker.keys(RESULT_PREFIX + "*")) == 20  # not those that classify_many has read
    for handle in done:
        handle.forget()
    assert len(broker.keys(RESULT_PREFIX + "*")) == 1


def test_an_upload_that_several_tasks_use_stays_until_all_of_them_have_ended(
    running_worker: WorkerProcess, client: Client, broker: redis.Redis
) -> None:
    # given another client that has uploaded the same bytes, and has not sent its task yet
    first, second = client.upload(picture(1)), client.upload(picture(1))
    assert code_of(client.classify(first, LABELS)) is None
    assert len(uploads(broker)) == 2
    assert code_of(client.classify(second, LABELS)) is None
    wait_until(lambda: not uploads(broker))
    # and one that is to be kept
    kept = client.upload(picture(2), keep=True)
    assert [code_of(client.classify(kept, LABELS)) for _ in range(2)] == [None, None]
    assert len(uploads(broker)) == 2
    broker.delete(*uploads(broker))
    # a task whose upload is gone says so
    with pytest.raises(ImageUnavailableError, match="with keep=True") as caught:
        client.classify(first, LABELS).get(LIMIT_S)
    assert caught.value.code == "UPLOAD_NOT_FOUND"


def test_a_failed_task_has_ended_too(
    client: Client, broker: redis.Redis, plain: Celery, end_of: Any
) -> None:
    broken = client.upload(b"a text")
    assert code_of(client.classify(broken, LABELS)) == "DECODE_UNRECOGNIZED"
    many = client.classify_many([client.upload(b"text"), client.upload(picture(3))], LABELS)
    assert {outcome.status for _, outcome in many} == {"ok", "error"}
    # also if the request is invalid, if it has expired, and if Celery runs it
    end_of("clip.classify", (client.upload(picture(4)),), {"labels": []})
    end_of("clip.classify", (client.upload(picture(5)),), KWARGS, expires=-5)
    end_of("clip.classify", (client.upload(b"Text"),), KWARGS, countdown=0.1)
    wait_until(lambda: not uploads(broker))


def test_tasks_that_celery_runs_use_up_their_uploads_and_keep_results_as_long_as_they_ask(
    running_worker: WorkerProcess, client: Client, broker: redis.Redis, plain: Celery
) -> None:
    # given a chain: its second task's upload waits for its turn
    signatures = [
        plain.signature("clip.classify", (client.upload(picture(n)),), options, immutable=True)
        for n, options in ((6, KWARGS), (7, KWARGS | {"result_ttl_s": 50}))
    ]
    last: AsyncResult = chain(*signatures, app=plain).apply_async()
    assert last.get(LIMIT_S)["predictions"]
    usual = last.parent
    assert usual is not None
    late = plain.send_task("clip.classify", (client.upload(picture(8)),), KWARGS, countdown=0.1)
    assert late.get(LIMIT_S)["predictions"]
    wait_until(lambda: not uploads(broker))
    # then
    day_s = Settings().result_ttl_s
    asked = client.classify(client.upload(picture(9)), LABELS, result_ttl_s=40)
    longer = client.classify(client.upload(picture(10)), LABELS, result_ttl_s=2 * day_s)
    assert [code_of(handle) for handle in (asked, longer)] == [None, None]
    for task_id, ttl_s in (
        (last.id, 50), (usual.id, day_s), (late.id, day_s), (asked.id, 40), (longer.id, day_s),
    ):  # fmt: skip
        assert ttl_s - 30 < broker.ttl(RESULT_PREFIX + task_id) <= ttl_s


def test_an_upload_of_a_dead_letter_is_there_when_it_is_replayed(
    running_worker: WorkerProcess, redis_url: str, client: Client, broker: redis.Redis
) -> None:
    # given a message that has killed four workers
    aside = QueueKeys("aside")
    with Client(redis_url, queue=aside.queue) as other:
        sent = other.classify(other.upload(picture(11)), LABELS)
    accuse(broker, aside, 4)
    broker.rename(aside.suspects, QueueKeys(DEFAULT_QUEUE).suspects)
    assert code_of(client.handle(sent.id)) == "POISON"
    assert len(uploads(broker)) == 2

    assert client.dead_letters.replay([sent.id]) == []

    assert code_of(client.handle(sent.id)) is None
    wait_until(lambda: not uploads(broker))


def test_a_task_that_is_sent_twice_keeps_its_success_and_leaves_nothing(
    client: Client, broker: redis.Redis, end_of: Any
) -> None:
    # given a producer that has sent its message again, since it did not get Redis's reply
    message = ("clip.classify", (client.upload(picture(12)),), KWARGS)
    first = end_of(*message, task_id="twice")
    assert first["predictions"]
    wait_until(lambda: not uploads(broker))
    stored = broker.get(f"{RESULT_PREFIX}twice")
    # when
    end_of(*message, task_id="twice")
    end_of("clip.classify", (client.upload(picture(13)),), KWARGS)  # it comes after the other
    wait_until(lambda: not uploads(broker))
    # then
    assert broker.get(f"{RESULT_PREFIX}twice") == stored
    # and with our client's task_id it is not even sent
    again = [client.upload(picture(14)) for _ in range(2)]
    handles = [client.classify(uri, LABELS, task_id="once") for uri in again]
    assert [code_of(handle) for handle in handles] == [None, None]
    wait_until(lambda: not uploads(broker))
    handles[0].forget()
    assert broker.keys("clip-worker:*:sent:*") == []
