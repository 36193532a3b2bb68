"""The queue consumer's threads together, on a real Redis, with a handler of the test's own."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError
from support.queue_state import accuse, started, unacked
from support.redis_server import RedisServer, find_executable
from support.waiting import wait_until

from clip_worker.contract.keys import QueueKeys
from clip_worker.errors import ImageInvalidError
from clip_worker.redis.url import connect
from worker.delivery import queue_consumer
from worker.delivery.delivery import Crash
from worker.delivery.policy import DeliveryPolicy
from worker.delivery.prefetch import Prefetch
from worker.delivery.queue_consumer import QueueConsumer
from worker.delivery.redis_queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.delivery.delivery import Delivery

pytestmark = pytest.mark.integration

TASK = "clip.classify"
KEYS = QueueKeys("celery")
DEAD = "clip-worker:celery:dead"
BROKEN = ImageInvalidError("It is broken.", "DECODE_BROKEN")
NOTHING = (0, 0, 0, 0)


class Hub:
    """Celery's event loop and what it takes; `read` is a turn of the loop."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.read: Callable[[], None] = lambda: None

    def add_reader(self, _fd: int, callback: Callable[..., None], *args: Any) -> None:
        self.read = lambda: callback(*args)

    def remove_reader(self, _fd: int) -> None:
        self.read = lambda: None


class Handler:
    """Keeps what it is handed."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.abandoned = False
        self.full = False
        self.asked = 0  # whether it is full

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        self.got.extend(deliveries)

    def resting(self) -> int:
        return 0

    def is_full(self) -> bool:
        self.asked += 1
        return self.full

    def preparation_s(self) -> float:
        return 0.0

    def abandon(self) -> None:
        self.abandoned = True


class Stage:
    """A consumer with its Redis, its producer and its handler."""

    def __init__(self, url: str, *, floor: int = 4, **policy: Any) -> None:
        self.redis = redis.Redis.from_url(url)
        self.app = Celery(broker=url, set_as_current=False)
        self.handler = Handler()
        self.queue = RedisQueue(connect(url), KEYS, lease_s=2, result_ttl_s=60)
        usual = {"tasks": (TASK,), "max_deliveries": 2, "task_timeout_s": 60.0}
        self.consumer = QueueConsumer(
            queues=["celery"],
            open_queue=lambda _: self.queue,
            prefetch=Prefetch(floor=floor, ceiling=8, initial=8),
            lease_s=2,
            worker="w",
            policy=DeliveryPolicy(**(usual | policy)),
        )
        self.acks = self.consumer.acks
        self.in_flight = self.consumer.in_flight

    def send(self, **options: Any) -> str:
        return str(self.app.send_task(TASK, kwargs={"k": 1}, **options).id)

    def start(self) -> None:
        self.consumer.start(self.handler)

    def wait_for(self, count: int) -> list[Delivery]:
        """What the handler has, once it is so many."""
        wait_until(lambda: len(self.handler.got) >= count)
        return self.handler.got

    def handle(self, count: int = 1) -> list[Delivery]:
        """Start, and send so many messages, which the handler gets."""
        for _ in range(count):
            self.send()
        self.start()
        return self.wait_for(count)

    def run_in_celery(self, **options: Any) -> tuple[str, Hub]:
        """Start, and send a message that Celery has to run."""
        hub = Hub()
        self.consumer.attach(hub, hub.messages.append)
        task_id = self.send(**(options or {"countdown": 60}))
        self.start()
        wait_until(lambda: len(self.in_flight) == 1)
        hub.read()
        return task_id, hub

    def result(self, task_id: str) -> dict[str, Any]:
        key = f"celery-task-meta-{task_id}"
        wait_until(lambda: self.redis.exists(key))
        return dict(json.loads(self.redis.get(key) or b""))

    def in_redis(self) -> tuple[int, ...]:
        r = self.redis
        waiting = r.llen("celery") + r.llen(KEYS.arrived[0])
        return waiting, r.llen(KEYS.suspects), unacked(r, KEYS), len(started(r, KEYS))

    def ends(self) -> None:
        """Wait until nothing is left in Redis but results."""
        wait_until(lambda: self.in_redis() == NOTHING)

    def close(self) -> None:
        if self.consumer.is_started:
            self.consumer.drain(0)
        self.consumer.celery.close()
        self.queue.close()
        self.app.close()
        self.redis.close()


@pytest.fixture
def open_stage(redis_url: str) -> Iterator[Callable[..., Stage]]:
    """Opens stages with a test's own policy, and closes them even if the test fails."""
    with contextlib.ExitStack() as opened:
        yield lambda **policy: opened.enter_context(contextlib.closing(Stage(redis_url, **policy)))


@pytest.fixture
def stage(open_stage: Callable[..., Stage]) -> Stage:
    return open_stage()


def test_a_message_goes_to_the_handler_and_its_first_end_to_redis(stage: Stage) -> None:
    succeeds, fails = stage.handle(2)
    assert succeeds.arguments.kwargs == {"k": 1}
    assert stage.in_redis() == (0, 0, 2, 0)

    stage.acks.succeed(succeeds, '{"answer": 7}')
    stage.acks.fail(fails, BROKEN)
    for delivery in (succeeds, fails):  # each has ended
        stage.acks.succeed(delivery, '"late"')
        stage.acks.give_back(delivery)

    assert stage.result(succeeds.id)["result"] == {"answer": 7}
    assert stage.result(fails.id)["result"]["exc_message"] == ["It is broken. [DECODE_BROKEN]"]
    stage.ends()
    wait_until(lambda: len(stage.in_flight) == 0)  # Redis has their ends a moment before


def test_no_more_is_taken_than_there_is_room_for(stage: Stage) -> None:
    for _ in range(30):
        stage.send()

    stage.start()

    taken = stage.wait_for(8)[:8]
    assert stage.redis.llen("celery") == 22
    for delivery in taken:
        stage.acks.succeed(delivery, "1")
    stage.wait_for(12)


def test_nothing_is_taken_while_the_handler_is_full(stage: Stage) -> None:
    # given a consumer with room, whose handler has no memory for more
    stage.handler.full = True  # before it starts: a look that has begun would still take some
    stage.consumer.start(stage.handler)
    sent = [stage.send() for _ in range(3)]
    # when it has asked, and asked again after that
    asked = stage.handler.asked
    wait_until(lambda: stage.handler.asked >= asked + 3)
    # then it has left all of them, until there is memory again
    assert not stage.handler.got
    stage.handler.full = False
    wait_until(lambda: [each.id for each in stage.handler.got] == sent)


def test_a_message_takes_the_room_of_its_size_until_its_parts_are_done(
    open_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: messages of 6 units each, and room for 8
    stage = open_stage(floor=8, size_of=lambda _: 6)
    requeue = stage.queue.requeue
    gone_back: list[str] = []
    monkeypatch.setattr(
        stage.queue, "requeue", lambda lease, t: gone_back.extend(t) or requeue(lease, t)
    )
    sent = [stage.send() for _ in range(6)]
    stage.start()
    wait_until(lambda: len(stage.handler.got) == 2 and stage.redis.llen("celery") == 4)
    first, second = stage.handler.got
    assert [first.id, second.id] == sent[:2]
    assert stage.in_flight.busy == 12

    # when the first is nearly done, then the next is taken, and only once
    for _ in range(5):
        stage.consumer.advance(first)
    assert stage.in_flight.busy == 7
    stage.consumer.advance(second)
    stage.acks.succeed(first, "1")
    assert stage.wait_for(3)[2].id == sent[2]
    wait_until(lambda: stage.redis.llen("celery") == 3)
    assert len(gone_back) == 4

    stage.consumer.drain(0)
    assert stage.in_flight.busy == 0


def test_a_copy_of_what_is_in_flight_is_not_begun_and_leaves_nothing(stage: Stage) -> None:
    # given: the same message comes again, as from a producer whose connection was lost
    stage.send()
    [message] = stage.redis.lrange("celery", 0, -1)
    stage.start()
    [delivery] = stage.wait_for(1)
    stage.redis.lpush("celery", message)
    wait_until(lambda: stage.in_redis() == (0, 0, 1, 0))

    stage.acks.succeed(delivery, "1")

    assert stage.result(delivery.id)["result"] == 1
    stage.ends()
    assert stage.handler.got == [delivery]


def test_two_messages_of_one_id_are_both_handled_as_after_a_retry(stage: Stage) -> None:
    stage.start()
    for count in (1, 2):
        stage.send(task_id="same")
        stage.wait_for(count)
    for delivery in stage.handler.got:
        stage.acks.succeed(delivery, "1")
    stage.ends()


def test_no_more_is_taken_while_the_messages_in_flight_are_too_large_together(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_consumer, "MOST_BYTES", 1)  # so that one is enough
    [first] = stage.handle()
    second = stage.send()
    wait_until(lambda: stage.in_redis() == (1, 0, 1, 0))

    stage.acks.succeed(first, "1")

    assert stage.wait_for(2)[1].id == second


def test_a_task_that_is_not_registered_becomes_a_dead_letter_once_nobody_took_it(
    open_stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    stage = open_stage(is_registered=lambda name: name == TASK)
    theirs = [str(stage.app.send_task("users.own" + "x" * 200).id) for _ in range(2)]
    ours = str(stage.app.send_task("clip.unheard_of").id)

    stage.start()

    for task_id in (*theirs, ours):
        assert stage.result(task_id)["result"]["exc_type"] == "NotRegistered"
    stage.ends()
    assert stage.redis.hlen(DEAD) == 3
    reported = [record.getMessage() for record in caplog.records]
    assert sum("Put back the task 'users.own" in line for line in reported) == 1
    assert all(len(line) < 700 for line in reported)


def test_what_asks_for_more_goes_through_celerys_loop_and_is_acknowledged_here(
    stage: Stage,
) -> None:
    _, hub = stage.run_in_celery()

    [message] = hub.messages
    assert message.headers["eta"]
    assert message.decode()[1] == {"k": 1}
    message.ack()
    stage.ends()
    assert stage.handler.got == []


def test_what_celery_rejects_is_a_dead_letter_that_leaves_the_tasks_result_alone(
    stage: Stage,
) -> None:
    task_id, hub = stage.run_in_celery()

    hub.messages[0].reject(requeue=False)

    stage.ends()
    assert b"REJECTED" in stage.redis.hget(DEAD, task_id)
    assert stage.redis.get(f"celery-task-meta-{task_id}") is None


def test_what_celery_cant_take_costs_its_own_task_and_not_celerys_loop(stage: Stage) -> None:
    # given: two messages, of which Celery stumbles over the first
    taken: list[Any] = []

    def stumble_once(message: Any) -> None:
        taken.append(message)
        if len(taken) == 1:
            raise TypeError("argument of type 'int' is not iterable")

    hub = Hub()
    stage.consumer.attach(hub, stumble_once)
    bad = stage.send(countdown=60)
    stage.start()
    wait_until(lambda: len(stage.in_flight) == 1)

    hub.read()
    stage.send(countdown=60)
    wait_until(lambda: len(stage.in_flight) == 1)
    hub.read()

    assert stage.result(bad)["result"]["exc_message"][0].endswith("[UNREADABLE]")
    assert len(taken) == 2
    taken[1].ack()
    stage.ends()


def test_what_celery_forgets_on_a_reconnect_goes_back(stage: Stage) -> None:
    _, first = stage.run_in_celery()
    assert len(first.messages) == 1

    again = Hub()
    stage.consumer.attach(again, again.messages.append)

    def it_has_come_again() -> bool:
        again.read()
        return bool(again.messages)

    wait_until(it_has_come_again)
    assert again.messages[0].channel.delivery is not first.messages[0].channel.delivery


def test_what_waits_for_its_time_takes_no_room_before(stage: Stage) -> None:
    stage.run_in_celery()
    [delivery] = stage.in_flight.all()
    assert stage.in_flight.busy == 0

    assert stage.consumer.begin(delivery)
    assert stage.consumer.begin(delivery)
    assert stage.in_flight.busy == 1

    stage.acks.acknowledge(delivery)
    stage.ends()
    assert not stage.consumer.begin(delivery)
    wait_until(lambda: stage.in_flight.busy == 0)  # Redis has its end a moment before


def test_the_lease_is_renewed_for_as_long_as_the_work_takes(stage: Stage) -> None:
    stage.handle()
    lease = stage.queue.lease
    first = stage.redis.zscore(KEYS.leases, lease.name)

    wait_until(lambda: stage.redis.zscore(KEYS.leases, lease.name) > first + 2)

    assert not lease.is_lost
    assert len(stage.handler.got) == 1


def test_what_a_dead_worker_held_is_taken_over(stage: Stage) -> None:
    # given: somebody took two messages, began one, and is gone
    waiting, begun = stage.send(), stage.send()
    gone = RedisQueue(stage.redis, KEYS, lease_s=2, result_ttl_s=60)
    taken = gone.take(2)
    gone.start(gone.lease, [taken[1].tag], Crash(1.0, 1, "gone"))

    stage.start()

    assert {d.id: len(d.crashes) for d in stage.wait_for(2)} == {waiting: 0, begun: 1}


def test_what_is_condemned_expired_or_revoked_ends_without_the_handler(
    open_stage: Callable[..., Stage],
) -> None:
    stage = open_stage(revoked={"unwanted"})
    condemned = stage.send()
    accuse(stage.redis, KEYS, 2)
    expired, unwanted = stage.send(expires=-10), stage.send(task_id="unwanted")

    stage.start()

    assert stage.result(condemned)["result"]["exc_message"][0].endswith("[POISON]")
    assert stage.result(expired)["result"]["exc_message"] == ["expired"]
    assert stage.result(unwanted)["result"]["exc_message"] == ["revoked"]
    stage.ends()
    assert stage.redis.hkeys(DEAD) == [condemned.encode()]
    assert stage.handler.got == []


def test_what_takes_too_long_fails_unless_celery_holds_it_and_its_late_answer_is_dropped(
    open_stage: Callable[..., Stage],
) -> None:
    # given: a task that Celery has to run, and one of ours, in flight for longer than ours may take
    stage = open_stage(task_timeout_s=0.2)
    celerys = str(stage.app.send_task("users.own").id)
    ours = stage.send()

    stage.start()

    assert stage.result(ours)["result"]["exc_message"][0].endswith("[TASK_TIMEOUT]")
    stage.acks.succeed(stage.handler.got[0], "1")
    wait_until(lambda: [delivery.id for delivery in stage.in_flight.all()] == [celerys])
    assert stage.result(ours)["status"] == "FAILURE"
    assert stage.redis.get(f"celery-task-meta-{celerys}") is None


def test_a_consumer_that_never_began_leaves_nothing_open(redis_url: str) -> None:
    gc.collect()

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        Stage(redis_url).redis.close()
        gc.collect()

    assert [str(warning.message) for warning in seen] == []


def test_a_drain_waits_for_what_ends_in_time_and_gives_back_the_rest(stage: Stage) -> None:
    done = stage.handle(3)[1]
    threading.Timer(0.1, stage.acks.succeed, (done, "1")).start()

    stage.consumer.drain(0.5)

    assert stage.result(done.id)["result"] == 1
    assert stage.in_redis() == (2, 0, 0, 0)
    assert stage.consumer.given_back == 2
    assert stage.handler.abandoned


def test_a_result_waits_for_a_redis_that_is_away() -> None:
    executable = find_executable()
    assert executable is not None
    with (
        RedisServer(executable, "--appendonly", "yes", "--appendfsync", "always") as server,
        contextlib.closing(Stage(server.url)) as stage,
    ):
        [delivery] = stage.handle()
        server.stop()
        stage.acks.succeed(delivery, "1")

        server.restart()

        assert stage.result(delivery.id)["result"] == 1
        stage.ends()
        assert stage.handler.got == [delivery]


def test_what_is_begun_is_noted_and_what_is_no_longer_ours_or_unwanted_is_not(
    open_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given four deliveries: one is revoked by now, one is nobody knows where
    revoked: set[str] = set()
    stage = open_stage(revoked=revoked)
    first, second, unwanted, lost = stage.handle(4)
    revoked.add(unwanted.id)
    stage.redis.hdel(KEYS.unacked(lost.lease.name), lost.tag)
    start, failures = stage.queue.start, [RedisConnectionError("away")] * 2

    def start_or_fail(*args: Any) -> list[bool]:
        if failures:
            raise failures.pop()
        return start(*args)

    monkeypatch.setattr(stage.queue, "start", start_or_fail)

    begun = stage.consumer.begin_all([first, second, unwanted, lost], together=2)

    assert begun == [first, second]
    assert [delivery.begun for delivery in begun] == [True, True]
    assert lost.ended
    assert stage.result(unwanted.id)["status"] == "REVOKED"
    lines = started(stage.redis, KEYS)
    assert set(lines) == {first.tag.encode(), second.tag.encode()}
    assert {line.split(b" ", 1)[1] for line in lines.values()} == {b"2 w"}

    # when all end together, the first has ended before
    stage.acks.fail(first, BROKEN)
    stage.acks.succeed_all([(first, "1"), (second, "2")])
    assert stage.result(first.id)["status"] == "FAILURE"
    assert stage.result(second.id)["result"] == 2
    stage.ends()
    assert stage.acks.totals() == {TASK: 2}


def test_a_bug_in_storing_costs_a_repetition_and_not_the_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: storing fails once with what nobody foresaw
    finish, failures = stage.queue.finish, [ValueError("a bug")]

    def finish_or_fail(lease: Any, done: Any) -> list[bool]:
        if failures:
            raise failures.pop()
        return finish(lease, done)

    monkeypatch.setattr(stage.queue, "finish", finish_or_fail)
    [delivery] = stage.handle()
    stage.acks.succeed(delivery, "1")

    # when it has been found twice that nobody works on it, then it comes again and is stored
    again = stage.wait_for(2)[1]
    stage.acks.succeed(again, "2")
    assert stage.result(delivery.id)["result"] == 2
