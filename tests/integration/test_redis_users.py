"""What the users of `deploy/redis/users.acl` can do, and that they can do no more."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain, chord
from support.redis_acl import ADMIN, CLIENT, OPERATOR, WORKER, AclServer, acl_server
from support.waiting import wait_until
from support.webhook_receiver import SECRET, receiver
from support.worker_process import WorkerProcess, clean_environment

from clip_worker import Client
from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys, dead_key
from clip_worker.errors import QueueUnavailableError
from clip_worker.redis.queue_status import queue_status
from clip_worker.redis.url import connect
from worker.cli.doctor.needed_rights import client_rights, worker_rights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
REPLY_S = 5.0
LABELS = ["red", "blue"]
KEYS = QueueKeys(DEFAULT_QUEUE)
OTHERS = ("get", "set", "del", "lrange")  # commands, on the key of another application
FORBIDDEN = {
    WORKER: (
        *("flushall", "config get *", "config set maxmemory 1", "acl list", "client list"),
        *("keys *", "scan 0", "shutdown", "monitor", "debug sleep 1", "script flush", "save"),
        *("get sessions:1", "set sessions:1 x", "lrange celery 0 -1", "rpop celery"),
        *("set clip-worker:label-set:pets x", "get clip-worker:other:dead", "rpop other"),
        *("publish sessions x", "subscribe sessions", "replicaof host 6379"),
    ),
    CLIENT: (
        *("flushall", "config get *", "acl list", "client list", "keys *", "scan 0", "shutdown"),
        *("monitor", "script flush", "info", "get sessions:1", "set sessions:1 x"),
        *("lrange clip 0 -1", "lindex clip 0", "rpop clip", "del clip", "set clip x"),
        *("pexpire clip 1", "get clip", "lpush celery x", "lpush other x"),
        *("get clip-worker:upload:x", "getrange clip-worker:upload:x 0 9"),
        *("set clip-worker:upload:x y get", "hgetall clip-worker:clip:dead"),
        *("zrange clip-worker:clip:workers 0 -1", "set clip-worker:clip:tick 1"),
        *("set celery-task-meta-x y", "publish celery-task-meta-x y", "publish /0.celery.pidbox x"),
        *("get clip-worker:clip:report:gpu-3", "psubscribe *", "psubscribe celery-task-meta-*"),
    ),
    OPERATOR: (
        *("flushall", "config set maxmemory 1", "config get *", "acl list", "shutdown", "monitor"),
        *("keys *", "get sessions:1", "set sessions:1 x", "lrange celery 0 -1", "script flush"),
        *("lpush celery x", "del celery"),
        *("get clip-worker:upload:x", "set clip-worker:label-set:pets x"),
        *("set celery-task-meta-x y", "publish celery-task-meta-x y"),
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AclServer]:
    with acl_server(tmp_path_factory.mktemp("acl")) as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: AclServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    settings = {"webhook_secret": SECRET, "allow_networks": "127.0.0.0/8"}
    root = tmp_path_factory.getbasetemp()
    with WorkerProcess(server.url(WORKER), root, name="users", **settings) as worker:
        worker.wait_for_log(" ready.")
        yield worker


@pytest.fixture
def redis_url(server: AclServer, worker: WorkerProcess) -> Iterator[str]:  # answers
    """For the fixtures `client` and `plain`."""
    yield server.url(CLIENT)
    assert server.refusals() == []


def test_a_worker_and_a_client_may_do_what_the_doctor_checks(server: AclServer) -> None:
    needed = {
        WORKER: worker_rights(DEFAULT_QUEUE, remote_control=True, db=0),
        CLIENT: client_rights(DEFAULT_QUEUE),
    }
    for user, rights in needed.items():
        assert [right for right in rights if not server.allows(user, *right)] == []


@pytest.mark.parametrize("user", FORBIDDEN)
def test_a_user_can_do_nothing_that_it_need_not(server: AclServer, user: str) -> None:
    assert [each for each in FORBIDDEN[user] if server.allows(user, *each.split())] == []
    assert server.allows(user, "ping")


@pytest.mark.parametrize("login", ["", ":wrong@", f"{CLIENT}:wrong@"])
def test_whoever_has_no_password_can_do_nothing(server: AclServer, login: str) -> None:
    with (
        Client(f"redis://{login}127.0.0.1:{server.port}/0") as nobody,
        pytest.raises(QueueUnavailableError, match="wants another user or password"),
    ):
        nobody.ping()
    server.forget_refusals()


def test_who_lacks_a_right_is_told_where_to_look(server: AclServer) -> None:
    with (
        Client(server.url(CLIENT), queue="other") as client,
        pytest.raises(QueueUnavailableError, match="lacks a right, which `ACL LOG` there names"),
    ):
        client.classify("data:,x", LABELS)
    [refusal] = server.refusals()
    assert refusal.startswith("clip-worker-client was denied the key 'other'; if it needs that")
    server.forget_refusals()


def test_a_client_sends_and_reads_whatever_the_client_offers(
    client: Client, image: str, image_file: Path
) -> None:
    assert client.classify(image, LABELS, priority=9).get(LIMIT_S).predictions
    assert client.classify(client.upload(image_file), LABELS).get(LIMIT_S).predictions
    client.discard(client.upload(image_file))
    assert client.classify(image, LABELS, tenant="a", priority=9).get(LIMIT_S).predictions
    once = client.classify(image, LABELS, task_id="once")
    assert once.get(LIMIT_S).predictions
    once.forget()
    client.put_label_set("users", LABELS)
    assert client.get_label_set("users").labels == tuple(LABELS)
    assert client.classify(image, label_set="users@1").get(LIMIT_S).predictions
    assert [each.exact_name for each in client.list_label_sets()] == ["users@1"]
    client.remove_label_set("users")
    [(_, outcome)] = client.classify_many([image], LABELS, timeout=LIMIT_S)
    assert outcome.status == "ok"


def test_a_client_with_a_limit_of_the_queue_and_a_webhook_needs_no_more(
    server: AclServer, client: Client, image: str
) -> None:
    with receiver() as hooks, Client(server.url(CLIENT), max_queue_length=10) as limited:
        handle = limited.classify(image, LABELS, webhook=hooks.url(), tenant="a")
        wait_until(lambda: hooks.events(handle.id))
    assert client.handle(handle.id).get(LIMIT_S).predictions


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_stock_celery_needs_no_more_for_what_it_sends(plain: Celery, image: str) -> None:
    step = plain.signature("clip.classify", args=(image, LABELS), immutable=True)
    later = step.clone(options={"countdown": 0.1})
    together = chord([step.clone(), step.clone()], step.clone(), app=plain)
    for sent in (step, later, chain(step.clone(), step.clone()), together):
        assert sent.apply_async().get(LIMIT_S)["predictions"]


def test_an_operator_looks_revokes_and_replays(
    server: AclServer, client: Client, worker: WorkerProcess, image: str
) -> None:
    url = server.url(OPERATOR)
    with Celery(broker=url, set_as_current=False) as app:
        inspect = app.control.inspect(timeout=REPLY_S, limit=1)
        wait_until(lambda: "total" in str(inspect.stats()))
        app.control.revoke("never-sent")
    with server.admin() as admin:
        admin.lpush(
            DEFAULT_QUEUE,
            '{"headers": {"id": "dead", "task": "clip.unknown"}, "body": "[[], {}, {}]"}',
        )
        wait_until(lambda: admin.hlen(dead_key(DEFAULT_QUEUE)))
    assert "clip.unknown" in shown(url, "dead", "list")
    shown(url, "dead", "replay", "dead")
    worker.wait_for_log("became a dead letter")
    with connect(url) as redis:
        wait_until(lambda: queue_status(redis, DEFAULT_QUEUE).dead_letters == 1)
    assert "users@" in shown(url, "status", "--once")
    shown(url, "dead", "purge", "--all", "--yes")
    client.put_label_set("pets", LABELS)
    assert "pets" in shown(url, "labels", "list")


def shown(url: str, *command: str) -> str:
    """What `clip-worker` prints for an operator."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", *command],
        env=clean_environment() | {"CLIP_WORKER_REDIS_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr  # 3: `status` found dead letters
    return done.stdout


def test_a_worker_reclaims_what_a_lost_worker_held(
    server: AclServer, client: Client, image: str
) -> None:
    # given a message that a worker held, whose lease has lapsed
    with server.admin() as admin:
        sent = client.classify(image, LABELS, expires_s=LIMIT_S)
        assert sent.get(LIMIT_S)
        message: Any = '{"headers": {"id": "lost", "task": "clip.unknown"}, "body": "[[], {}, {}]"}'
        admin.hset(KEYS.unacked("lost"), "tag", f"{DEFAULT_QUEUE}\n0\n{message}")
        admin.zadd(KEYS.leases, {"lost": 1})
        wait_until(lambda: admin.hexists(dead_key(DEFAULT_QUEUE), "lost"))
    assert server.allows(ADMIN, "flushall")
