"""A backend that runs Celery already, and clip-worker beside it, both sides on their defaults."""

from __future__ import annotations

import json
import shutil
import sys
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from celery import chain, chord, group
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.contract.keys import dead_key
from clip_worker.errors import ImageUnavailableError, ServiceError
from worker.cli.demo.images import DEMO_IMAGES, image_folder

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
REPLY_S = 5.0  # what is asked before a worker listens is never answered
QUEUES = ("clip", "celery")  # ours and Celery's default, as a user meets them
MOST_LINES = 30
# Celery publishes a task's next try before it stores `RETRY`. Where another process or thread is
# faster with that try, `RETRY` may overwrite its result, and who waits for that waits for ever.
ONE_BY_ONE = ("-c", "1")
OURS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {  # options and settings
    "celery": (("--loglevel", "warning"), {"name": "clip"}),
    "clip-worker": ((), {"command": (sys.executable, "-m", "worker.cli", "start")}),
}


class Backend:
    """What a backend sends, counted; `app` knows the broker, and one route."""

    def __init__(self, app, folder) -> None:
        self.app = app
        self.sent: Counter[str] = Counter()
        self.images = DEMO_IMAGES
        self._folder = folder

    def own(self, task: str, *args: Any) -> Any:
        """A task of its own."""
        self.sent[f"celery backend.{task}"] += 1
        return self.app.signature(f"backend.{task}", args)

    def classify(self, image, *, uri_comes: bool = False) -> Any:
        """A task of ours."""
        self.sent["clip clip.classify"] += 1
        args = () if uri_comes else (self.uri(image),)
        return self.app.signature("clip.classify", args, {"labels": image.labels, "k": 1})

    def missing(self) -> Any:
        """A task of ours that fails."""
        self.sent["clip clip.classify"] += 1
        uri = (self._folder / "missing.jpg").as_uri()
        return self.app.signature("clip.classify", (uri, ["a", "b"]))

    def uri(self, image) -> str:
        return (self._folder / image.file_name).as_uri()

    def result(self, of) -> Any:
        """That of a signature which goes on with another's."""
        of.set(task_id=str(uuid.uuid4()))
        return self.app.AsyncResult(of.options["task_id"])


@pytest.fixture
def backend(plain, tmp_path):
    return Backend(plain, shutil.copytree(image_folder(), tmp_path / "images"))


@contextmanager
def both(folder, app, pool: str, /, *options: str, **ours: Any):
    """Our worker beside a stock Celery worker of the backend's, both of them answering."""
    url = str(app.conf.broker_url)
    own = WorkerProcess(url, folder, *options, **ours)
    theirs = WorkerProcess(
        *(url, folder, "-P", pool, *ONE_BY_ONE),
        name="celery",
        app="backend_app",
        environment={"BACKEND_REDIS_URL": url},
    )
    try:
        own.start()
        theirs.start()
        wait_until(lambda: len(stats(app)) == 2, lambda: own.log + theirs.log)
        yield own
    finally:
        own.kill()
        theirs.stop()


def stats(app) -> dict[str, dict[str, Any]]:
    return app.control.inspect(timeout=REPLY_S, limit=2).stats() or {}


def totals(app) -> dict[str, int]:
    """How many of each task each kind of worker did, as `celery inspect stats` tells."""
    return {
        f"{name.partition('@')[0].partition('-')[0]} {task}": count
        for name, reported in stats(app).items()
        for task, count in reported["total"].items()
    }


def end_of(result) -> Any:
    """The result of a task; after too long, an error with the states of what it follows."""
    wait_until(result.ready, lambda: states(result))
    return result.get(LIMIT_S)


def states(result) -> list[tuple[str, str]]:
    before = states(result.parent) if result.parent else []
    return [*before, (result.id, getattr(result, "state", "a group"))]


def best(answer) -> str:
    return str(answer["predictions"][0]["label"])


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
@pytest.mark.parametrize(("command", "pool"), [("celery", "prefork"), ("clip-worker", "solo")])
def test_both_do_their_own_tasks_and_go_on_with_each_others(
    command, pool, tmp_path, backend, client, broker
):
    options, settings = OURS[command]
    with both(tmp_path, backend.app, pool, *options, **settings) as ours:
        lines = len(ours.log.splitlines())
        send_everything_and_compare(backend, client)

        # nothing is stolen: each did exactly its own
        expected = backend.sent
        wait_until(lambda: totals(backend.app) == expected, lambda: totals(backend.app))
        assert [broker.llen(queue) for queue in QUEUES] == [0, 0]
        assert broker.hlen(dead_key("clip")) == 0
        assert len(ours.log.splitlines()) - lines < MOST_LINES

        # and a producer that uses the backend's queue gets an error that says so
        with Client(client.url, queue="celery") as mistaken:
            uri, labels = backend.uri(backend.images[0]), backend.images[0].labels
            with pytest.raises(ServiceError, match=r"CLIP_WORKER_QUEUE") as caught:
                mistaken.classify(uri, labels).get(LIMIT_S)
        assert caught.value.code == "NOT_REGISTERED"


def send_everything_and_compare(backend, client):
    plain = backend.app
    one, two, three, *_ = images = backend.images
    answers = [image.answer for image in images]

    # from ours to the backend's, and from the backend's to ours and back
    chained = chain(backend.classify(one), backend.own("best_label"), app=plain).apply_async()
    there_and_back = chain(
        backend.own("find_picture", backend.uri(two)),
        backend.classify(two, uri_comes=True),
        backend.own("best_label"),
        app=plain,
    ).apply_async()

    # all images of a chord to one task of the backend's
    header = [backend.classify(image) for image in images]
    gathered = chord(header, backend.own("best_labels"), app=plain).apply_async()

    # a group of both
    mixed = group(
        [backend.classify(three), backend.own("find_picture", "x")], app=plain
    ).apply_async()

    # a result or a failure is passed on
    on_answer, on_failure = backend.own("best_label"), backend.own("note_failure")
    answered, noted = backend.result(on_answer), backend.result(on_failure)
    backend.classify(one).apply_async(link=on_answer)
    failed = backend.missing().apply_async(link_error=on_failure)

    # a task of the backend's that tries again goes on where it was
    retried = chain(
        backend.classify(one), backend.own("best_label"), backend.own("try_again"), app=plain
    ).apply_async()

    # and plain tasks, by name and by the client
    sent = backend.classify(two).apply_async()
    handle = client.classify(backend.uri(three), three.labels)
    many = dict(client.classify_many([backend.uri(one)] * 3, one.labels, chunk=2, timeout=LIMIT_S))
    backend.sent += Counter({"clip clip.classify": 1, "clip clip.classify_many": 2})
    backend.sent["celery backend.try_again"] += 2  # its retries

    assert end_of(chained) == one.answer
    assert end_of(there_and_back) == two.answer
    assert end_of(gathered) == answers
    [third, found] = end_of(mixed)
    assert (best(third), found) == (three.answer, "x")
    assert end_of(answered) == one.answer
    assert end_of(noted) == failed.id
    with pytest.raises(ImageUnavailableError):
        end_of(failed)
    assert end_of(retried) == one.answer
    assert best(end_of(sent)) == two.answer
    assert handle.get(LIMIT_S).predictions[0].label == three.answer
    assert [best(many[i].model_dump()["result"]) for i in range(3)] == [one.answer] * 3


def test_tasks_of_an_application_built_on_ours_retry_and_go_on_beside_the_backends(
    tmp_path, backend, broker
):
    plain = backend.app
    with both(tmp_path, plain, "solo", *ONE_BY_ONE, name="clip", app="own_app") as ours:
        results = [
            chain(
                plain.signature(f"own.{name}", args, queue="clip"),
                backend.own("find_picture"),
                app=plain,
            ).apply_async()
            for name, args in (("retries", ()), ("replaces", (21,)))
        ]

        assert [end_of(result) for result in results] == [3, 42]
        backend.sent += Counter(
            {"clip own.retries": 4, "clip own.replaces": 1, "clip own.doubles": 1}
        )
        wait_until(lambda: totals(plain) == backend.sent, lambda: totals(plain))
        assert [broker.llen(queue) for queue in QUEUES] == [0, 0], ours.log


def test_what_is_sent_to_the_backends_queue_is_not_read_after_a_reconnect(
    redis_url, tmp_path, backend, broker
):
    plain = backend.app
    with WorkerProcess(redis_url, tmp_path) as worker:
        # given our worker alone, which has sent a task to the backend's queue
        one, *_ = backend.images
        chain(backend.classify(one), backend.own("best_label"), app=plain).apply_async()
        wait_until(lambda: broker.llen("celery") == 1, lambda: worker.log)

        # when its connections break
        for link in psutil.Process(worker.pid).net_connections("tcp4"):
            if link.raddr:
                broker.client_kill_filter(addr=f"{link.laddr.ip}:{link.laddr.port}")
        worker.wait_for_log("Connection to broker lost")
        wait_until(lambda: len(stats(plain)) == 1, lambda: worker.log)

        # then
        assert end_of(backend.classify(one).apply_async())
        [queues] = plain.control.inspect(timeout=REPLY_S, limit=1).active_queues().values()
        assert [queue["name"] for queue in queues] == ["clip"]
        assert broker.llen("celery") == 1


def test_on_kombus_transport_what_a_backends_worker_holds_is_not_requeued(
    redis_url, tmp_path, backend, broker
):
    def hold(key: str, queue: str) -> None:
        """Take a message as kombu does, a minute ago."""
        message = json.loads(broker.rpop(queue))
        broker.hset(key, "tag", json.dumps([message, "", queue]))
        broker.zadd(f"{key}_index", {"tag": time.time() - 60})

    # given what a backend's worker and a lost one of ours took a minute ago
    theirs = backend.own("find_picture", "x").apply_async()
    hold("unacked", "celery")
    ours = backend.classify(backend.images[0]).apply_async()
    hold("clip-worker:kombu:unacked", "clip")
    # when our worker looks for what was lost
    with WorkerProcess(redis_url, tmp_path, queue_path="stock", visibility_timeout_s="1"):
        assert best(end_of(ours)) == backend.images[0].answer
    # then
    assert [broker.hlen("unacked"), broker.llen("celery")] == [1, 0]
    assert theirs.state == "PENDING"
