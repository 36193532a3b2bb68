"""`clip-worker start`: what is checked before a worker runs."""

from __future__ import annotations

import itertools
import os

import pytest
from redis.exceptions import AuthenticationError
from support.failure import failure_of
from support.fake_clock import FakeClock

from clip_worker.errors import QueueUnavailableError
from worker.cli import redis_wait, start
from worker.cli.entry import run
from worker.runtime.queue_assembly import LEAST_CEILING
from worker.settings import Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The environment, restored afterwards."""
    environment = os.environ.copy()
    monkeypatch.setattr(os, "environ", environment)
    return environment


@pytest.fixture
def started(monkeypatch):
    """Log levels of the workers that would have been started."""
    levels: list[int] = []
    monkeypatch.setattr(start, "wait_for_redis", lambda *_: None)
    monkeypatch.setattr(
        start, "run_worker", lambda _app, level, _service: levels.append(level) or 0
    )
    return levels


def test_all_invalid_settings_are_reported_together(started, capsys, environment):
    environment["CLIP_WORKER_MAX_BATCH"] = "0"

    status = run(["start", "--device", "gpu", "--concurrency", "many", "--redis-url", "localhost"])

    lines = capsys.readouterr().err.splitlines()
    assert status == 2
    assert sorted(line.split(" is ")[0] for line in lines) == [
        "clip-worker: CLIP_WORKER_CONCURRENCY",
        "clip-worker: CLIP_WORKER_DEVICE",
        "clip-worker: CLIP_WORKER_MAX_BATCH",
        "clip-worker: CLIP_WORKER_REDIS_URL",
    ]
    assert started == []


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--redis-url", "redis://:pw@localhost:port/0", "'redis://:***@localhost:port/0'"),
        ("--loglevel", "loud", "'loud' is not one of"),
    ],
)
def test_an_invalid_option_is_rejected(started, capsys, option, value, sentence):
    assert run(["start", option, value]) == 2

    assert sentence in capsys.readouterr().err
    assert started == []


def test_options_take_precedence_over_the_environment(started, environment):
    environment |= {"CLIP_WORKER_MODEL": "RN50", "CLIP_WORKER_QUEUE": "kept"}

    assert run(["start", "--model", "demo", "--loglevel", "INFO"]) == 0

    assert environment["CLIP_WORKER_MODEL"] == "demo"
    assert environment["CLIP_WORKER_QUEUE"] == "kept"
    assert started == [20]


def test_options_that_are_not_settings_may_be_set_in_the_environment(started, environment):
    environment |= {"CLIP_WORKER_LOGLEVEL": "info", "CLIP_WORKER_REDIS_WAIT_S": "5"}

    assert run(["start"]) == 0

    assert started == [20]


def test_help_shows_the_actual_defaults(capsys):
    run(["start", "--help"])

    text = " ".join(capsys.readouterr().out.split())
    options = {"redis_url", "model", "device", "queue"}
    defaults = {name: f"[{Settings.model_fields[name].default}]" for name in options}
    defaults["concurrency"] = f"[{LEAST_CEILING}, or 8 batches if that is more]"
    for name, default in defaults.items():
        described = text.partition(f"--{name.replace('_', '-')} ")[2].partition(" --")[0]
        assert default in described, name


# --- waiting for Redis ---

AWAY = QueueUnavailableError("Redis at redis://x is away.")


@pytest.fixture
def wait(monkeypatch):
    """Waits for two Redis, whose pings end in turn with these errors; what is said, and a clock."""

    def wait(*errors: Exception | None):
        pings, clock, said = iter(errors), FakeClock(), []
        monkeypatch.setattr(redis_wait, "_failure", lambda _url: next(pings))

        def call():
            redis_wait.wait_for_redis(
                ["redis://x", "redis://y"], 30, said.append, clock=clock, sleep=clock.sleep
            )

        return call, said, clock

    return wait


def test_a_redis_that_does_not_come_is_reported_at_once_and_given_up_in_time(wait):
    call, said, clock = wait(*itertools.repeat(AWAY, 100))

    message = failure_of(call).message

    assert said == ["Redis at redis://x is away. Waiting for it for up to 30 s ..."]
    assert message == "Gave up after waiting 30 s for Redis. Redis at redis://x is away."
    assert clock.now_s == 30


def test_a_redis_that_comes_late_is_waited_for(wait):
    call, said, clock = wait(AWAY, AWAY, None, None)

    call()

    assert (clock.now_s, len(said)) == (2, 1)


def test_the_limit_is_for_both_redis_together(wait):
    call, said, clock = wait(*[AWAY] * 20, None, *[AWAY] * 100)

    failure_of(call)

    assert (clock.now_s, len(said)) == (30, 1)


def test_a_rejected_password_is_not_waited_for(wait):
    rejected = QueueUnavailableError("Redis rejects the password.")
    rejected.__cause__ = AuthenticationError()
    call, said, clock = wait(rejected)

    assert "rejects the password" in failure_of(call).message

    assert (clock.now_s, said) == (0, [])
