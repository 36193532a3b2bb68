"""One worker of a supervisor: a child process that ends with this one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence

from worker.cli.child_process import kill_child, start_child
from worker.cli.supervisor.readiness import ReadyPipe
from worker.variables import SUPERVISED


class Worker:
    """A worker that has been started.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches it once: through the
    supervisor.

    Args:
        command: Program and arguments.
        environment: Its environment variables.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._pipe = ReadyPipe()
        theirs = self._pipe.theirs
        try:
            self._process = start_child(
                command,
                None,
                environment={**environment, SUPERVISED: str(theirs)},
                pass_fds=(theirs,),
            )
        finally:
            os.close(theirs)
        self.pid = self._process.pid

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when `is_ready` may have changed."""
        return self._pipe.descriptors

    @property
    def is_ready(self) -> bool:
        """Whether it has ever taken tasks, as far as `read` knows."""
        return self._pipe.is_ready

    def read(self) -> None:
        """Learn whether it is ready."""
        self._pipe.read()

    def returncode(self) -> int | None:
        """None while it runs; negative if a signal ended it."""
        return self._process.poll()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def close(self) -> None:
        """Clean up after its end: nothing that it started survives it."""
        kill_child(self._process)
        self._pipe.close()


def worker_command() -> list[str]:
    """The command line of one worker: as this process's, without its arguments."""
    count, arguments = len(sys.argv) - 1, sys.argv[1:]
    if sys.orig_argv[len(sys.orig_argv) - count :] != arguments:
        return [sys.executable, "-m", "worker.cli", "start"]
    return [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - count], "start"]
