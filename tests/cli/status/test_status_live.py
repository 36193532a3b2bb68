"""The live view of `clip-worker status`: redrawn in a terminal, plain elsewhere, until Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import Self

import pytest
from redis import Redis
from support.redis_server import new_server
from support.status_snapshots import report
from support.waiting import wait_until
from support.worker_process import clean_environment

from clip_worker.redis.worker_reports import WorkerReports

pytestmark = pytest.mark.integration

HOME, CLEAR_SCREEN = "\x1b[H", "\x1b[2J"
HEIGHT, WIDTH = 12, 60


class Terminal:
    """`clip-worker status` on a pseudo-terminal of 12 lines and 60 columns."""

    def __init__(self, url: str, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        environment = clean_environment() | {"TERM": "xterm"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command(url, *arguments), stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        self.printed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def read(self) -> str:
        """All that was printed until now."""
        try:
            while piece := os.read(self._master, 65536):
                self.printed += piece.decode().replace("\r\n", "\n")
        except OSError:  # nothing more for now, or the other end was closed
            pass
        return self.printed

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.read(), lambda: f"no {text!r} in {self.printed!r}")

    @property
    def views(self) -> list[str]:
        return self.read().split(HOME)[1:]


def command(url: str, *arguments: str) -> list[str]:
    program = [sys.executable, "-m", "worker.cli", "status", "--redis-url", url]
    return [*program, "--interval", "0.2", *arguments]


@pytest.fixture
def redis(redis_url):
    with Redis.from_url(redis_url) as redis:
        yield redis


def test_each_view_takes_the_place_of_the_last_one_and_ctrl_c_is_status_0(redis_url, redis):
    # given
    with Terminal(redis_url) as terminal:
        terminal.wait_for("No worker takes tasks")
        # when
        WorkerReports(redis, "clip").put(report(reported_at=time.time()))
        terminal.wait_for("Nothing looks wrong.")
        terminal.process.send_signal(signal.SIGINT)
        # then
        assert terminal.process.wait(20) == 0
        views = terminal.views
    assert len(views) >= 2
    assert [CLEAR_SCREEN in view for view in views] == [True, *[False] * (len(views) - 1)]
    assert "Traceback" not in terminal.printed


def test_a_view_fits_the_terminal(redis_url, redis):
    # given more workers than lines
    reports = WorkerReports(redis, "clip")
    for number in range(30):
        reports.put(report(f"clip-{number}@host", reported_at=time.time()))
    # when
    with Terminal(redis_url) as terminal:
        terminal.wait_for("more lines; --once prints all")
        view = terminal.views[0]
    # then
    assert view.count("\n") <= HEIGHT - 1


def test_while_redis_is_away_the_view_says_so_and_goes_on():
    with new_server() as server, Terminal(server.url) as terminal:
        terminal.wait_for("No worker takes tasks")
        server.stop()
        terminal.wait_for("can't be used")
        terminal.wait_for("Last seen:")
        server.restart()
        seen = len(terminal.views)
        wait_until(
            lambda: any("can't be used" not in view for view in terminal.views[seen + 1 :]),
            lambda: f"no view of Redis in {terminal.printed!r}",
        )


def test_without_a_terminal_views_follow_each_other_as_plain_text(redis_url):
    with subprocess.Popen(
        command(redis_url), stdout=subprocess.PIPE, env=clean_environment(), text=True
    ) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(8)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(20) == 0
    assert sum(line.startswith("queue ") for line in lines + rest.splitlines()) >= 2
    assert "\x1b" not in "".join(lines) + rest


def test_as_json_each_look_is_a_line(redis_url):
    with subprocess.Popen(
        command(redis_url, "--json"), stdout=subprocess.PIPE, env=clean_environment(), text=True
    ) as process:
        assert process.stdout
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.kill()
    assert second["at"] > first["at"]
