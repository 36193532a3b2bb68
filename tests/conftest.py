"""The integration tests' Redis, and the report of the tests that it was missing for."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.redis_server import NO_SERVER, RedisServer, find_executable, new_server
from support.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

# Read when torch is imported: its threads sleep at a barrier instead of spinning. Where other
# programs keep the cores busy, spinning makes a forward pass of two threads ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for the whole run. A test that stops or kills Redis takes `server`."""
    with new_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """One worker, on a Redis of its own, for all tests that only ask it: a start takes seconds."""
    root = tmp_path_factory.getbasetemp()
    with new_server() as server, WorkerProcess(server.url, root) as worker:
        worker.wait_for_log(" ready.")
        yield worker


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own, to stop, to kill or to configure."""
    with new_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty database."""
    redis_server.client().flushall()
    return redis_server.url


def pytest_configure() -> None:
    # A shell's background job ignores Ctrl-C, and what `nohup` starts ignores the end of its
    # terminal; so would all processes that the tests start.
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_collection_finish(session: pytest.Session) -> None:
    if find_executable() is None:
        for item in session.items:
            if item.get_closest_marker("integration"):
                item.add_marker(pytest.mark.skip(reason=NO_SERVER))


def _left_out(config: pytest.Config) -> list[str]:
    """Names of the tests that were left out. Taken from reports, which xdist's processes send."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    return [report.nodeid for report in skipped if NO_SERVER in str(report.longrepr)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") and session.exitstatus == 0 and _left_out(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    left_out = _left_out(config)
    if not left_out:
        return
    terminalreporter.section("integration tests left out", yellow=True)
    terminalreporter.line(f"{len(left_out)} left out: {NO_SERVER}")
    for name in left_out:
        terminalreporter.line(f"  {name}")
    if os.environ.get("CI"):
        terminalreporter.line("CI is set, so this run counts as failed.", red=True)
