"""`clip-worker start`: what is checked before a worker runs."""

from __future__ import annotations

import os

import pytest
from redis.exceptions import AuthenticationError

from worker.cli import redis_wait, start
from worker.cli.entry import run
from worker.cli.redis_wait import wait_for_redis
from worker.errors import QueueUnavailableError
from worker.runtime.queue_assembly import LEAST_CEILING
from worker.settings import Settings


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def _same_environment_afterwards(monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def started(monkeypatch):
    """Log levels of the workers that would have been run."""
    levels: list[int] = []
    monkeypatch.setattr(start, "wait_for_redis", lambda *_: None)
    monkeypatch.setattr(start, "run_worker", lambda _app, level: levels.append(level) or 0)
    return levels


def test_every_wrong_setting_is_told_at_once(started, capsys, monkeypatch):
    monkeypatch.setitem(os.environ, "CLIP_WORKER_MAX_BATCH", "0")

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


def test_a_redis_url_with_a_wrong_port_is_refused_without_its_password(started, capsys):
    assert run(["start", "--redis-url", "redis://:pw@localhost:port/0"]) == 2

    assert "'redis://:***@localhost:port/0'" in capsys.readouterr().err


def test_options_go_before_the_environment(started, monkeypatch):
    monkeypatch.setitem(os.environ, "CLIP_WORKER_MODEL", "RN50")
    monkeypatch.setitem(os.environ, "CLIP_WORKER_QUEUE", "kept")

    assert run(["start", "--model", "demo", "--loglevel", "INFO"]) == 0

    assert os.environ["CLIP_WORKER_MODEL"] == "demo"
    assert os.environ["CLIP_WORKER_QUEUE"] == "kept"
    assert started == [20]


def test_help_names_the_defaults_that_hold(capsys):
    run(["start", "--help"])

    told = " ".join(capsys.readouterr().out.split())
    options = {"redis_url", "model", "device", "queue"}
    defaults = {name: f"[{Settings.model_fields[name].default}]" for name in options}
    defaults["concurrency"] = f"[{LEAST_CEILING}, or 8 batches if that is more]"
    for name, default in defaults.items():
        described = told.partition(f"--{name.replace('_', '-')} ")[2].partition(" --")[0]
        assert default in described, name


def test_options_that_are_no_settings_may_stand_in_the_environment(started, monkeypatch):
    monkeypatch.setitem(os.environ, "CLIP_WORKER_LOGLEVEL", "info")
    monkeypatch.setitem(os.environ, "CLIP_WORKER_REDIS_WAIT_S", "5")

    assert run(["start"]) == 0

    assert started == [20]


def test_an_unknown_log_level_is_wrong_input(started, capsys):
    assert run(["start", "--loglevel", "loud"]) == 2

    assert "'loud' is not one of" in capsys.readouterr().err


def test_a_redis_that_does_not_come_is_told_once_at_once_and_then_given_up(monkeypatch):
    # given
    down = QueueUnavailableError("Redis at redis://x is away.")
    monkeypatch.setattr(redis_wait, "_failure", lambda _url: down)
    clock, said = Clock(), []

    with pytest.raises(QueueUnavailableError) as caught:
        wait_for_redis(["redis://x"], 30, said.append, clock=clock, sleep=clock.sleep)

    assert said == ["Redis at redis://x is away. Waiting for it for up to 30 s ..."]
    assert str(caught.value) == "After 30 s, still: Redis at redis://x is away."
    assert clock.now == 30


def test_a_redis_that_comes_late_is_waited_for(monkeypatch):
    down = QueueUnavailableError("Redis is away.")
    failures = iter([down, down, None])
    monkeypatch.setattr(redis_wait, "_failure", lambda _url: next(failures))
    clock, said = Clock(), []

    wait_for_redis(["redis://x"], 30, said.append, clock=clock, sleep=clock.sleep)

    assert clock.now == 2
    assert len(said) == 1


def test_the_limit_holds_for_both_redis_together(monkeypatch):
    down = QueueUnavailableError("Redis is away.")
    failures = iter([*[down] * 20, None, *[down] * 100])
    monkeypatch.setattr(redis_wait, "_failure", lambda _url: next(failures))
    clock, said = Clock(), []

    with pytest.raises(QueueUnavailableError):
        wait_for_redis(["redis://x", "redis://y"], 30, said.append, clock=clock, sleep=clock.sleep)

    assert clock.now == 30
    assert len(said) == 1


def test_a_wrong_password_is_not_waited_for(monkeypatch):
    wrong = QueueUnavailableError("Redis refuses the password.")
    wrong.__cause__ = AuthenticationError()
    monkeypatch.setattr(redis_wait, "_failure", lambda _url: wrong)
    clock, said = Clock(), []

    with pytest.raises(QueueUnavailableError, match="refuses the password"):
        wait_for_redis(["redis://x"], 30, said.append, clock=clock, sleep=clock.sleep)

    assert clock.now == 0
    assert said == []
