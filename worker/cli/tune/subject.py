"""A configuration that is being measured, in one child process for each of its workers."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from worker.cli.tune.configuration import Configuration
from worker.cli.tune.measurement import MEMORY, Collected, Facts, Round
from worker.variables import SLEEP_AT_BARRIERS

START_LIMIT_S = 600.0  # large weights from a slow disk
LIMIT_S = 600.0  # for one measurement
LAST_LINES = 5  # of a child's output, in the reason for its end


class SubjectError(Exception):
    """A configuration can't be measured; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is the same for all configurations.

    Attributes:
        environment: Variables of the children.
        workers: How many workers share the work, unless a configuration says.
        labels: Of every request.
        templates: Of every request.
        images: URIs of the sample.
        folder: For temporary files.
    """

    environment: Mapping[str, str]
    workers: int
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    images: tuple[str, ...]
    folder: Path


class Subject:
    """The workers of a configuration; a context manager that ends them.

    Args:
        task: What is measured.
        configuration: Settings that differ from those of the task's environment.
    """

    def __init__(self, task: Task, configuration: Configuration) -> None:
        self._task = task
        self.configuration = configuration
        self._children: list[_Child] = []

    def start(self) -> None:
        """Start the workers."""
        given = {**self._task.environment, **self.configuration.variables()}
        environment = dict([SLEEP_AT_BARRIERS]) | given  # as in a worker
        for number in range(self.configuration.workers or self._task.workers):
            log = self._task.folder / f"worker-{number}.log"
            self._children.append(_Child(environment, log))

    def wait_until_ready(self) -> Facts:
        """Wait until the workers have loaded the model.

        Raises:
            SubjectError: One of them can't.
        """
        given = {
            "labels": self._task.labels,
            "templates": self._task.templates,
            "images": self._task.images,
        }
        return Facts(**self._ask_all(given, START_LIMIT_S)[0])

    def collect(self, seconds: float, count: int) -> tuple[Collected, NDArray[np.float32] | None]:
        """Probabilities `[N, L]` of the first readable images of the sample, at most `count`.

        Raises:
            SubjectError: An image failed that could be read.
        """
        paths = [
            self._task.folder / f"probabilities-{number}.npy"
            for number in range(len(self._children))
        ]
        for child, path in zip(self._children, paths, strict=True):
            path.unlink(missing_ok=True)
            given = {"do": "collect", "seconds": seconds, "count": count, "path": str(path)}
            child.send(given)
        reply, *_ = [child.reply(LIMIT_S + seconds) for child in self._children]
        failed = {int(index): reason for index, reason in reply["failed"].items()}
        found = Collected(reply["count"], failed)
        return found, np.load(paths[0]) if paths[0].exists() else None

    def latency(self, seconds: float) -> tuple[float, ...]:
        """Seconds that single images take on an idle worker, ascending.

        Raises:
            SubjectError: An image failed.
        """
        return tuple(self._children[0].ask({"do": "latency", "seconds": seconds}, LIMIT_S))

    def round(self, seconds: float) -> Round:
        """The rate of all workers together with a full queue.

        Raises:
            SubjectError: An image failed.
        """
        found = self._ask_all({"do": "round", "seconds": seconds}, LIMIT_S)
        return Round.together([Round(**each) for each in found])

    def _ask_all(self, request: Mapping[str, object], limit_s: float) -> list[Any]:
        for child in self._children:
            child.send(request)
        return [child.reply(limit_s) for child in self._children]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._children:
            child.end()


class _Child:
    """A process of `worker.cli.tune.child`, in a session of its own so that Ctrl-C misses it."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                # -P: the current folder may contain another package `worker`.
                [sys.executable, "-P", "-m", "worker.cli.tune.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=dict(environment),
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._receive, name="replies", daemon=True).start()

    def ask(self, request: Mapping[str, object], limit_s: float) -> Any:
        self.send(request)
        return self.reply(limit_s)

    def send(self, request: Mapping[str, object]) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # the reply says how it ended
            print(json.dumps(request), file=self._process.stdin, flush=True)

    def reply(self, limit_s: float) -> Any:
        try:
            line = self._replies.get(timeout=limit_s)
        except queue.Empty as error:
            raise SubjectError(f"The worker did not answer within {limit_s:g} s.") from error
        if not line:
            raise SubjectError(self._end_reason())
        found = json.loads(line)
        if isinstance(found, dict) and "failure" in found:
            start = "It does not fit into memory: " if found["kind"] == MEMORY else ""
            raise SubjectError(start + found["failure"])
        return found

    def end(self) -> None:
        """End it and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _receive(self) -> None:
        assert self._process.stdout
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in self._process.stdout:
                self._replies.put(line)
        self._replies.put("")

    def _end_reason(self) -> str:
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return "It does not fit into memory: the system killed the worker."
        lines = self._log.read_text("utf-8", errors="replace").split("\n")
        last = " ".join(line.strip() for line in lines[-LAST_LINES:] if line.strip())
        return f"The worker ended with status {status}: {last or 'it printed nothing'}"
