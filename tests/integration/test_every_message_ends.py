"""Whatever stands on the queue ends, with a result under its id or as a dead letter.

The worker stays the same process throughout, and answers a good task behind each wrong message.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.image_zoo import write_zoo
from support.messages import SOUND, UNREADABLE, body_of, compressed, message
from support.peak_memory import Peak, needs_peaks
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys
from clip_worker.redis.dead_letters import DeadLetters

pytestmark = pytest.mark.integration

LIMIT_S = 60.0  # on a quiet machine each takes milliseconds, an unknown task 6 s
LABELS = ["red circle", "blue square"]
QUEUE = DEFAULT_QUEUE
KEYS = QueueKeys(QUEUE)
OTHER = {"task": "users.next", "args": [], "kwargs": {}, "options": {"queue": "users"}}


class Service:
    """A worker, its Redis, and what a test asks of them."""

    def __init__(self, url: str, folder: Path, worker: WorkerProcess) -> None:
        self.worker = worker
        self.redis = redis.Redis.from_url(url)
        self.client = Client(url)
        self.dead = DeadLetters(self.redis, url, QUEUE)
        [picture] = write_zoo(folder / "zoo", 1, seed=5)
        self.picture = picture.as_uri()
        self.pid = worker.running.pid

    def push(self, raw: bytes) -> None:
        self.redis.lpush(QUEUE, raw)

    def result(self, task_id: str) -> dict[str, Any] | None:
        stored = self.redis.get(f"celery-task-meta-{task_id}")
        return json.loads(stored) if isinstance(stored, bytes) else None

    def answers_a_good_task(self) -> bool:
        return bool(self.client.classify(self.picture, LABELS).get(LIMIT_S).predictions)

    def is_nothing_in_flight(self) -> bool:
        left = self.redis.llen(QUEUE) + unacked(self.redis, KEYS)
        return not left + self.redis.llen(KEYS.suspects)

    def is_the_same_process(self) -> bool:
        log = self.worker.log
        return psutil.pid_exists(self.pid) and log.count("is ready on") == 1

    def log_of(self, name: str) -> list[str]:
        return [line for line in self.worker.log.splitlines() if name in line]

    def close(self) -> None:
        self.client.close()
        self.redis.close()


@pytest.fixture(scope="module")
def service(redis_server, tmp_path_factory):
    redis_server.client().flushall()
    folder = tmp_path_factory.mktemp("worker")
    with WorkerProcess(redis_server.url, folder) as worker:
        worker.wait_for_log(" ready.")
        service = Service(redis_server.url, folder, worker)
        yield service
        service.close()


@pytest.mark.parametrize(
    ("wrong", "task_id"),
    [pytest.param(raw, task_id, id=name) for name, raw, _, task_id in UNREADABLE]
    + [
        pytest.param(message("bomb", **compressed(200_000_000)), "bomb", id="a compressed bomb"),
        pytest.param(SOUND | {"headers": {"id": "d9d5a0f2"}}, "d9d5a0f2", id="no task's name"),
    ],
)
def test_what_cant_be_read_is_a_failure_and_a_dead_letter_with_one_log_line(
    service, wrong, task_id
):
    # given
    service.redis.delete(f"celery-task-meta-{task_id}")
    letters, lines = set(service.dead.ids()), len(service.log_of("became a dead letter"))
    size = len(service.worker.log)
    # when
    service.push(wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode())
    # then
    assert service.answers_a_good_task()
    wait_until(lambda: len(service.log_of("became a dead letter")) > lines)
    wait_until(service.is_nothing_in_flight)
    reported = [
        line for line in service.worker.log[size:].splitlines() if "succeeded in" not in line
    ]
    assert len(reported) == 1, reported
    assert "The message can't be read: " in reported[0]
    if task_id:
        stored = service.result(task_id)
        assert stored is not None
        assert stored["result"]["exc_type"] == "InvalidRequestError"
        assert stored["result"]["exc_message"][0].endswith("[UNREADABLE]")
    else:
        [new] = set(service.dead.ids()) - letters
        assert service.dead.get(new).code == "UNREADABLE"  # type: ignore[union-attr]
    assert service.is_the_same_process()


ODD: list[tuple[str, dict[str, Any], str]] = [  # sound for Celery, and what they come to
    ("without a content type", {"content-type": None}, "SUCCESS"),
    ("with a callback of an odd queue", {"callbacks": [OTHER | {"options": {"queue": 5}}]}, ""),
    ("with a callback of an odd countdown", {"callbacks": [OTHER | {"options": {"eta": "x"}}]}, ""),
    ("with an errback of no task", {"errbacks": [OTHER | {"task": "\\0"}]}, "SUCCESS"),
    ("with a chain", {"chain": [OTHER]}, "SUCCESS"),
    ("with a chain of odd options", {"chain": [OTHER | {"options": {"expires": "x"}}]}, ""),
    ("with a chord and no group", {"chord": OTHER}, "SUCCESS"),
    ("with a group callback of nothing", {"callbacks": [OTHER | {"subtask_type": "group"}]}, ""),
    ("with odd stamps", {"stamped_headers": ["x"], "stamps": {}}, ""),
]


@pytest.mark.parametrize(
    ("change", "state"), [pytest.param(change, state, id=name) for name, change, state in ODD]
)
def test_what_celery_may_stumble_over_ends_with_a_result(service, change, state, request):
    # given: a sound question, and something odd around it
    task_id = f"odd-{request.node.callspec.id.replace(' ', '-')}"
    asked = {"image": service.picture, "labels": LABELS}
    embed = {
        name: change[name] for name in ("callbacks", "errbacks", "chain", "chord") if name in change
    }
    headers = {name: change[name] for name in ("stamped_headers", "stamps") if name in change}
    fields = {name: change[name] for name in ("content-type",) if name in change}
    raw = message(task_id, headers=headers, body=body_of([], asked, embed), **fields)
    # when
    service.push(json.dumps(raw).encode())
    # then
    assert service.answers_a_good_task()
    wait_until(lambda: service.result(task_id) is not None, lambda: service.worker.log)
    stored = service.result(task_id)
    assert stored is not None
    assert stored["status"] in ([state] if state else ["SUCCESS", "FAILURE"])
    wait_until(service.is_nothing_in_flight)
    assert service.is_the_same_process()


def test_a_task_that_nobody_knows_is_put_back_for_a_while_and_then_fails(service):
    # given: five tasks of somebody else's, and one of our own name space
    size = len(service.worker.log)
    name = "shop.tasks." + "send_invoice_" * 15
    foreign = [message(f"foreign-{n}", headers={"task": name}) for n in range(5)]
    ours = message("ours", headers={"task": "clip.unheard_of"})
    # when
    for raw in (*foreign, ours):
        service.push(json.dumps(raw).encode())
    # then
    assert service.answers_a_good_task()
    ids = [*(f"foreign-{n}" for n in range(5)), "ours"]
    wait_until(lambda: all(service.result(task_id) for task_id in ids))
    for task_id in ids:
        stored = service.result(task_id)
        assert stored is not None
        assert stored["result"]["exc_type"] == "NotRegistered"
        letter = service.dead.get(task_id)
        assert letter is not None
        assert letter.code == "UNKNOWN_TASK"
    wait_until(service.is_nothing_in_flight)
    # and one line says that it was put back, one each that it was given up
    reported = [line for line in service.worker.log[size:].splitlines() if "succeeded" not in line]
    assert len([line for line in reported if "Put back the task" in line]) == 1
    assert len(reported) == 1 + len(ids), reported
    assert all(len(line) < 600 for line in reported)


@needs_peaks
def test_a_compressed_message_takes_no_more_memory_than_it_may(service):
    # given
    assert service.answers_a_good_task()
    peak = Peak(service.pid)
    # when
    raw = message("large", **compressed(200_000_000))
    service.push(json.dumps(raw).encode())
    # then
    assert service.answers_a_good_task()
    wait_until(service.is_nothing_in_flight)
    assert peak.own_growth_bytes() < 120_000_000


_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
_HEADERS = ["task", "id", "eta", "expires", "timelimit", "retries", "group", "root_id", "stamps"]


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    headers=st.dictionaries(st.sampled_from(_HEADERS), _value, max_size=2),
    properties=st.dictionaries(
        st.sampled_from(["delivery_info", "body_encoding", "priority", "reply_to"]), _value
    ),
    fields=st.dictionaries(st.sampled_from(["content-type", "body", "headers"]), _value),
    body=st.none() | st.tuples(_value, _value, _value).map(lambda parts: body_of(*parts)),
)
def test_whatever_a_producer_writes_the_worker_goes_on(service, headers, properties, fields, body):
    # given
    raw = message("whatever", headers=headers, properties=properties) | fields
    raw |= {} if body is None else {"body": body}
    # when
    service.push(json.dumps(raw).encode())
    # then
    assert service.answers_a_good_task()
    assert service.is_the_same_process()


def test_after_all_of_these_nothing_is_left_in_flight(service):
    # what Celery holds until its ETA stays: that is what was asked for
    wait_until(lambda: service.redis.llen(QUEUE) == 0)
    wait_until(lambda: unacked(service.redis, KEYS) == 0, lambda: service.worker.log)
    assert service.is_the_same_process()
