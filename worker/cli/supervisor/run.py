"""Runs the workers of this machine under a supervisor, in this process."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping

from worker.cli.supervisor.events import Events
from worker.cli.supervisor.ports import port_variables
from worker.cli.supervisor.supervisor import Supervisor
from worker.cli.supervisor.worker import Worker, worker_command
from worker.logs.say import say


def run_workers(count: int, variables: Mapping[str, str], metrics_port: int | None) -> int:
    """Run workers until a signal stops them.

    Args:
        count: How many.
        variables: What their environment has beside this process's.
        metrics_port: Of the first worker; the others have the ports that follow.

    Returns:
        The exit status.
    """
    command, environment = worker_command(), {**os.environ, **variables}
    with Events() as events:
        return Supervisor(
            count,
            start=lambda number: Worker(
                command, {**environment, **port_variables(metrics_port, number)}
            ),
            say=_say,
            wait=events.wait,
            clock=time.monotonic,
            has_terminal=sys.__stdout__ is not None and sys.__stdout__.isatty(),
        ).run()


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # its terminal may be gone
        say(sentence)
