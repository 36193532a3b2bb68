"""What an operator's tools say at one moment."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

from support.worker_process import clean_environment

from benchmarks.operators_hour.fleet import Member

METRICS = (
    "clip_worker_state",
    "clip_worker_tasks_total",
    "clip_worker_queue_messages",
    "clip_worker_queue_in_flight_messages",
    "clip_worker_queue_work_seconds",
    "clip_worker_queue_workers",
)
MOST_LINES = 6  # of a worker's log
_PACKAGES = re.compile(r"/\S+(?=/site-packages/)")  # where they are says nothing
_ZERO = re.compile(r" 0(\.0)?$")


@dataclass(frozen=True)
class Look:
    """What was said.

    Attributes:
        title: Of the moment.
        story: What had been done.
        at_s: Seconds since the hour began.
        status: Output of `clip-worker status --once`, and its exit status.
        health: The same of `clip-worker health`.
        metrics: Some of `/metrics`, those that are not zero.
        logs: New lines of the workers' logs.
    """

    title: str
    story: str
    at_s: float
    status: str
    health: str
    metrics: Sequence[str]
    logs: Sequence[str]


def status(url: str) -> str:
    """`clip-worker status --once`."""
    return _said("status", "--once", "--redis-url", url)


def health(member: Member) -> str:
    """`clip-worker health` of one worker."""
    return _said("health", port=member.port)


def metrics(member: Member) -> list[str]:
    """Lines of one worker's `/metrics`."""
    address = f"http://127.0.0.1:{member.port}/metrics"
    with urllib.request.urlopen(address, timeout=20) as reply:  # our own worker
        text = reply.read().decode()
    lines = [line for line in text.splitlines() if line.startswith(METRICS)]
    return [line for line in lines if "_created" not in line and not _ZERO.search(line)]


def logs(members: Sequence[Member]) -> list[str]:
    """New lines of all workers, with their names."""
    found = []
    for member in members:
        lines = [_PACKAGES.sub("...", line) for line in member.news()]
        found += [f"{member.name}: {line}" for line in lines[:MOST_LINES]]
        if len(lines) > MOST_LINES:
            found.append(f"{member.name}: ({len(lines) - MOST_LINES} more lines)")
    return found


def _said(*arguments: str, port: int | None = None) -> str:
    environment = clean_environment()
    if port is not None:
        environment["CLIP_WORKER_METRICS_PORT"] = str(port)
    command = [sys.executable, "-m", "worker.cli", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    shown = " ".join(("clip-worker", *arguments[:2]))
    return f"$ {shown}\n{ended.stdout}{ended.stderr}exit status {ended.returncode}\n"
