"""The threads that post: attempts, pauses, dead letters, and being woken. Redis is real."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as LostConnectionError
from support.queue_state import KEYS
from support.waiting import wait_until
from support.webhook_post import POST

from clip_worker.redis.dead_letters import DeadLetters
from worker.webhooks.host_rests import FAILURES, REST_S, HostRests
from worker.webhooks.outbox import Outbox
from worker.webhooks.poster import MOST_THREADS, WebhookPoster
from worker.webhooks.schedule import RetrySchedule
from worker.webhooks.sender import UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

pytestmark = pytest.mark.integration

HANGING = UndeliveredError("the server did not answer within 10 s", has_hung=True)
DOWN = UndeliveredError("the server answered with status 500")
GONE = UndeliveredError("the server answered with status 410", is_final=True)


class Bench:
    """A poster whose server and clock are the test's."""

    def __init__(self, server: redis.Redis, outbox: Outbox, **schedule: Any) -> None:
        self.now = 1_700_000_000.0
        self.answers: list[Exception | None] = []
        self.sent: list[tuple[str, str, bytes]] = []
        self.outbox = outbox
        self.dead = DeadLetters(server, "redis://", KEYS.queue)
        self._server = server
        self.poster = WebhookPoster(
            self.send,
            RetrySchedule(**schedule),
            timeout_s=10,
            insist=lambda settle: settle(),
            worker="w@h",
            rests=HostRests(lambda: self.now),
            now=lambda: self.now,
            draw=lambda: 0.5,
        )
        self.wake = self.poster.add(outbox)

    def send(self, *call: Any) -> None:
        self.sent.append(call)
        if self.answers and (error := self.answers.pop(0)):
            raise error

    def post(self) -> bool:
        return self.poster.post_one(self.outbox)

    def pause_s(self) -> float:
        """Let the pause of the only post end; how long it was."""
        seconds, parts = self._server.time()
        due = self._server.zscore(KEYS.webhooks, "e")
        assert due is not None
        pause_s = round(float(due) - seconds - parts / 1e6)
        self._server.zadd(KEYS.webhooks, {"e": 0})
        self.now += pause_s
        return pause_s


@pytest.fixture
def bench(server: redis.Redis, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench without threads: the test makes the posts, one by one."""
    monkeypatch.setattr(WebhookPoster, "wake", lambda _poster, _outbox: None)
    return Bench(server, outbox)


@pytest.fixture
def slow(server: redis.Redis, outbox: Outbox, bench: Bench) -> Bench:
    """The same with pauses a thousand times as long, so that a busy machine's are nothing."""
    return Bench(server, outbox, first_s=5000.0, total_s=1e9)


def test_a_post_is_made_once_and_removed(bench: Bench, put: Callable[..., None]) -> None:
    put("e")
    assert bench.post()
    assert not bench.post()
    assert bench.sent == [("e", POST.url, POST.body.encode())]
    assert bench.poster.stats() == {"waiting": 0, "posted": 1, "retried": 0, "failed": 0}


def test_a_server_that_fails_and_recovers_gets_the_same_event_after_growing_pauses(
    slow: Bench, put: Callable[..., None]
) -> None:
    put("e")
    slow.answers = [DOWN, DOWN, ZeroDivisionError("a bug of ours"), None]
    pauses = []
    for _ in range(3):
        assert slow.post()
        pauses.append(slow.pause_s())
    assert slow.post()

    assert pauses == [pytest.approx(each, abs=100) for each in (5000, 12_000, 28_800)]
    assert len(set(slow.sent)) == 1
    assert slow.outbox.waiting() == len(slow.dead) == 0
    assert slow.poster.stats() == {"waiting": 0, "posted": 1, "retried": 3, "failed": 0}


def test_after_the_last_attempt_it_is_a_dead_letter_with_one_line_in_the_log(
    bench: Bench, put: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    put("e")
    bench.answers = [DOWN] * 12
    for _ in range(11):
        assert bench.post()
        bench.pause_s()
    with caplog.at_level(logging.INFO):
        assert bench.post()

    [letter] = bench.dead.newest(5)
    assert len(letter.history) == 12
    assert {(each.kind, each.worker) for each in letter.history} == {("post", "w@h")}
    assert 10 * 3600 < letter.history[-1].at - letter.history[0].at < 24 * 3600
    assert letter.died_at == bench.now
    [line] = [record.getMessage() for record in caplog.records]
    assert line == (
        "Webhook e became a dead letter: The result of task 't' was not delivered to the webhook "
        "'http://127.0.0.1/hooks?...' in 12 attempts: the server answered with status 500."
    )
    assert bench.outbox.waiting() == 0


def test_what_makes_no_sense_to_try_again_is_a_dead_letter_at_once(
    slow: Bench, put: Callable[..., None]
) -> None:
    put("e")
    slow.answers = [GONE]
    assert slow.post()
    [letter] = slow.dead.newest(5)
    assert letter.reason.endswith("in 1 attempt: the server answered with status 410.")
    # and a replay tries it as if for the first time
    slow.dead.replay(["e"])
    slow.answers = [DOWN]
    assert slow.post()
    assert slow.pause_s() == pytest.approx(5000, abs=100)
    assert slow.post()
    assert slow.outbox.waiting() == 0


def test_a_host_that_hangs_rests_while_others_get_their_posts(
    bench: Bench, put: Callable[..., None], server: redis.Redis
) -> None:
    # given a host that hung three times, and is not asked any more
    other = POST.model_copy(update={"url": "http://127.0.0.1:81/"})
    for number in range(10):
        put(f"hanging{number}", number)
    put("other", 100, other)
    bench.answers = [HANGING] * FAILURES
    while bench.post():
        pass
    assert [call[1] for call in bench.sent] == [POST.url] * FAILURES + [other.url]
    assert bench.outbox.waiting() == 10

    def make_due() -> None:
        for event_id in server.zrange(KEYS.webhooks, 0, -1):
            server.zadd(KEYS.webhooks, {event_id: 0})

    # when its rest is over one post tries it; while it hangs, nobody else does
    bench.sent.clear()
    bench.now += REST_S
    bench.answers = [HANGING]
    make_due()
    while bench.post():
        pass
    assert len(bench.sent) == 1
    # then, once it answers, all are delivered
    bench.now += REST_S
    make_due()
    while bench.post():
        pass
    assert bench.outbox.waiting() == len(bench.dead) == 0
    assert len({call[0] for call in bench.sent}) == 10


def test_a_post_that_was_never_tried_because_its_host_hangs_is_given_up_after_a_day(
    bench: Bench, put: Callable[..., None], server: redis.Redis
) -> None:
    bench.answers = [HANGING] * FAILURES
    for number in range(FAILURES + 1):
        put(f"e{number}", number)
        assert bench.post()
    late = f"e{FAILURES}"
    bench.now += 86_401
    bench.poster._rests.hung(POST.host)
    server.zadd(KEYS.webhooks, {late: 0})
    assert bench.post()
    letter = bench.dead.get(late)
    assert letter is not None
    assert letter.reason.endswith("in 0 attempts: its host did not answer other posts either.")
    # and a replay tries it
    bench.now += REST_S
    bench.dead.replay([late])
    assert bench.post()
    assert bench.sent[-1][0] == late


@pytest.fixture
def running(server: redis.Redis, outbox: Outbox) -> Iterator[Bench]:
    """A bench whose threads are stopped in the end."""
    bench = Bench(server, outbox)
    yield bench
    bench.poster.stop(60)
    assert not [t for t in threading.enumerate() if t.name.startswith("webhooks-")]


def test_once_woken_threads_post_all_that_is_due_and_then_wait_for_more(
    running: Bench, put: Callable[..., None]
) -> None:
    for number in range(100):
        put(f"e{number}")
    running.wake()
    wait_until(lambda: running.outbox.waiting() == 0)
    put("later")
    running.wake()
    wait_until(lambda: running.outbox.waiting() == 0)
    assert sorted(call[0] for call in running.sent) == sorted(
        ["later", *(f"e{number}" for number in range(100))]
    )


def test_a_server_that_hangs_holds_up_a_bounded_number_of_threads(
    running: Bench, put: Callable[..., None]
) -> None:
    go = threading.Event()
    hanging = threading.Semaphore(0)
    send = running.send

    def hang(*call: Any) -> None:
        hanging.release()
        go.wait(60)
        send(*call)

    running.poster._send = hang
    for number in range(MOST_THREADS + 2):
        put(f"e{number}")
    running.wake()
    for _ in range(MOST_THREADS):  # each wakes the next one
        assert hanging.acquire(timeout=60)
    assert not hanging.acquire(blocking=False)
    go.set()
    wait_until(lambda: running.outbox.waiting() == 0)
    assert len(running.sent) == MOST_THREADS + 2


def test_a_redis_that_fails_costs_no_thread_and_no_post(
    running: Bench, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("e")
    claim, failing = running.outbox.claim, [LostConnectionError("Connection reset")]

    def fail_once(claim_s: float) -> Any:
        if failing:
            raise failing.pop()
        return claim(claim_s)

    monkeypatch.setattr(running.outbox, "claim", fail_once)
    running.wake()
    wait_until(lambda: not failing)
    running.wake()  # as the heartbeat does
    wait_until(lambda: running.outbox.waiting() == 0)


def test_two_outboxes_take_turns(
    running: Bench, put: Callable[..., None], server: redis.Redis
) -> None:
    other = Outbox(server, type(KEYS)("other"))
    put("mine")
    server.hset("clip-worker:other:webhook-posts", "theirs", POST.encode())
    server.zadd("clip-worker:other:webhooks", {"theirs": 0})
    running.wake()
    running.poster.add(other)()
    wait_until(lambda: running.poster.stats()["waiting"] == 0)
    assert sorted(call[0] for call in running.sent) == ["mine", "theirs"]
