"""A backend that runs Celery already, and clip-worker beside it, both sides on their defaults."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import redis
from backend_producer import Backend
from celery import chain, chord, group
from support.worker_process import WorkerProcess

from worker.cli.demo.images import DEMO_IMAGES, image_folder
from worker.client import Client
from worker.contract.keys import dead_key
from worker.errors import ImageUnavailableError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
REPLY_S = 5.0  # what is asked before a worker listens is never answered
QUEUES = ("clip", "celery")  # ours and Celery's default, as a user meets them
MOST_LINES = 30
# Celery publishes a task's next try before it stores `RETRY`. Where another process or thread is
# faster with that try, `RETRY` may overwrite its result, and who waits for that waits for ever.
ONE_BY_ONE = ("-c", "1")
FOLDER = Path(__file__).parent
PATH = f"PYTHONPATH={FOLDER}:{FOLDER.parents[1]}"
OURS = {
    "celery": (sys.executable, "-m", "celery", "-A", "worker", "worker", "-n", "clip@%h"),
    "clip-worker": (sys.executable, "-m", "worker.cli", "start"),
    "own": (
        *(sys.executable, "-m", "celery", "-A", "retrying_app", "worker", "-n", "clip@%h"),
        *ONE_BY_ONE,
    ),
}


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def _backend(redis_url: str, folder: Path, pool: str) -> WorkerProcess:
    """A stock Celery worker of the backend's; with no option that changes its queue."""
    environment = (f"BACKEND_REDIS_URL={redis_url}", PATH)
    options = ("-A", "backend_app", "worker", "-P", pool, *ONE_BY_ONE)
    command = (sys.executable, "-m", "celery", *options)
    return WorkerProcess(redis_url, folder, name="backend", command=("env", *environment, *command))


@contextmanager
def both(command: str, pool: str, folder: Path, app: Celery) -> Iterator[WorkerProcess]:
    """Our worker beside one of the backend's, both of them answering."""
    url = str(app.conf.broker_url)
    ours = WorkerProcess(url, folder, name="ours", command=("env", PATH, *OURS[command]))
    theirs = _backend(url, folder, pool)
    try:
        ours.start()
        theirs.start()
        _wait_until(lambda: len(_stats(app)) == 2, lambda: ours.log + theirs.log)
        yield ours
    finally:
        ours.kill()
        theirs.stop()


def _wait_until(condition: Callable[[], bool], tell: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, tell()
        time.sleep(0.1)


def _stats(app: Celery) -> dict[str, dict[str, Any]]:
    return app.control.inspect(timeout=REPLY_S, limit=2).stats() or {}


def _totals(app: Celery) -> dict[str, int]:
    """How many of each task each kind of worker did, as `celery inspect stats` tells."""
    return {
        f"{name.partition('@')[0].partition('-')[0]} {task}": count
        for name, stats in _stats(app).items()
        for task, count in stats["total"].items()
    }


@pytest.fixture
def backend(plain: Celery, tmp_path: Path) -> Backend:
    folder = shutil.copytree(image_folder(), tmp_path / "images")
    return Backend(plain, Path(folder), DEMO_IMAGES)


def _end(result: Any) -> Any:
    """What a task came to; where that takes too long, the states of what it follows on are told."""
    _wait_until(result.ready, lambda: _states(result))
    return result.get(LIMIT_S)


def _states(result: Any) -> list[tuple[str, str]]:
    before = _states(result.parent) if result.parent else []
    return [*before, (result.id, getattr(result, "state", "a group"))]


def _best(answer: Any) -> str:
    return str(answer["predictions"][0]["label"])


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
@pytest.mark.parametrize("pair", [("celery", "prefork"), ("clip-worker", "solo")])
def test_both_do_their_own_tasks_and_go_on_with_each_others(
    pair: tuple[str, str], tmp_path: Path, backend: Backend, client: Client, server: redis.Redis
) -> None:
    with both(*pair, tmp_path, backend.app) as ours:
        lines = len(ours.log.splitlines())
        _send_everything_and_compare(backend, client)

        # nothing is stolen: each did exactly its own
        expected = backend.sent
        _wait_until(lambda: _totals(backend.app) == expected, lambda: _totals(backend.app))
        assert [server.llen(queue) for queue in QUEUES] == [0, 0]
        assert server.hlen(dead_key("clip")) == 0
        assert len(ours.log.splitlines()) - lines < MOST_LINES

        # and who sends to the backend's queue is told what is wrong
        with Client(client.url, queue="celery") as mistaken:
            uri, labels = backend.uri(backend.images[0]), backend.images[0].labels
            with pytest.raises(ServiceError, match=r"CLIP_WORKER_QUEUE") as caught:
                mistaken.classify(uri, labels).get(LIMIT_S)
        assert caught.value.code == "NOT_REGISTERED"


def _send_everything_and_compare(backend: Backend, client: Client) -> None:
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

    # who is told of an answer or a failure
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
    uris = [backend.uri(one), backend.uri(one), backend.uri(one)]
    many = dict(client.classify_many(uris, one.labels, chunk=2, timeout=LIMIT_S))
    backend.sent += Counter({"clip clip.classify": 1, "clip clip.classify_many": 2})
    backend.sent["celery backend.try_again"] += 2  # its retries

    assert _end(chained) == one.answer
    assert _end(there_and_back) == two.answer
    assert _end(gathered) == answers
    [third, found] = _end(mixed)
    assert (_best(third), found) == (three.answer, "x")
    assert _end(answered) == one.answer
    assert _end(noted) == failed.id
    with pytest.raises(ImageUnavailableError):
        _end(failed)
    assert _end(retried) == one.answer
    assert _best(_end(sent)) == two.answer
    assert handle.get(LIMIT_S).predictions[0].label == three.answer
    assert [_best(many[i].model_dump()["result"]) for i in range(3)] == [one.answer] * 3


def test_tasks_of_an_application_built_on_ours_retry_and_go_on_beside_the_backends(
    tmp_path: Path, backend: Backend, server: redis.Redis
) -> None:
    with both("own", "solo", tmp_path, backend.app) as ours:
        retried, replaced = (
            chain(backend.app.signature(f"own.{name}", args, queue="clip"), on, app=backend.app)
            for name, args, on in (
                ("retries", (), backend.own("find_picture")),
                ("replaces", (21,), backend.own("find_picture")),
            )
        )

        results = [retried.apply_async(), replaced.apply_async()]

        assert [_end(result) for result in results] == [3, 42]
        backend.sent += Counter(
            {"clip own.retries": 4, "clip own.replaces": 1, "clip own.doubles": 1}
        )
        assert _totals(backend.app) == backend.sent
        assert [server.llen(queue) for queue in QUEUES] == [0, 0], ours.log


def test_what_is_sent_to_the_backends_queue_is_not_read_after_a_reconnect(
    running_worker: WorkerProcess, backend: Backend, plain: Celery, server: redis.Redis
) -> None:
    # given our worker alone, which has sent a task to the backend's queue
    one, *_ = backend.images
    chain(backend.classify(one), backend.own("best_label"), app=plain).apply_async()
    _wait_until(lambda: server.llen("celery") == 1, lambda: running_worker.log)

    # when its connections break
    for link in psutil.Process(running_worker.running.pid).net_connections("tcp4"):
        server.client_kill_filter(addr=f"{link.laddr.ip}:{link.laddr.port}")
    running_worker.wait_for_log("Connection to broker lost", LIMIT_S)
    _wait_until(lambda: len(_stats(plain)) == 1, lambda: running_worker.log)

    # then
    assert _end(backend.classify(one).apply_async())
    [queues] = plain.control.inspect(timeout=REPLY_S, limit=1).active_queues().values()
    assert [queue["name"] for queue in queues] == ["clip"]
    assert server.llen("celery") == 1


def test_on_kombus_transport_what_a_backends_worker_holds_is_not_given_back(
    redis_url: str, tmp_path: Path, backend: Backend, server: redis.Redis
) -> None:
    # given what a backend's worker and a lost one of ours took a minute ago
    theirs = backend.own("find_picture", "x").apply_async()
    _hold(server, "unacked", "celery")
    ours = backend.classify(backend.images[0]).apply_async()
    _hold(server, "clip-worker:kombu:unacked", "clip")
    # when our worker looks for what was lost
    with WorkerProcess(redis_url, tmp_path, queue_path="stock", visibility_timeout_s="1"):
        assert _best(_end(ours)) == backend.images[0].answer
    # then
    assert [server.hlen("unacked"), server.llen("celery")] == [1, 0]
    assert theirs.state == "PENDING"


def _hold(server: redis.Redis, key: str, queue: str) -> None:
    """Take a message as kombu does, a minute ago."""
    message = json.loads(str(server.rpop(queue)))
    server.hset(key, "tag", json.dumps([message, "", queue]))
    server.zadd(f"{key}_index", {"tag": time.time() - 60})
