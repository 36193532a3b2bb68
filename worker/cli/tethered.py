"""A child process that ends with its owner, however the owner ends.

As in `worker.redis_process`: the child has a session of its own, so that Ctrl-C in the terminal
reaches the owner only, and a shell beside it waits on a pipe that the system closes when the owner
is gone, `kill -9` included.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# $$ is the shell's process id, hence, after exec, the child's. The watcher is in the group of that
# number and so keeps it from being given to another process.
_WATCHED = 'exec 3<&0; (read -r _ <&3; kill -KILL $$) & exec "$@" 3<&- </dev/null'


class TetheredProcess:
    """A program that runs in the background and writes what it prints to a file.

    Args:
        command: Program and arguments.
        environment: All of its environment variables.
        log_path: Takes stdout and stderr.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log_path: Path
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self._log_path.read_text("utf-8", errors="replace")

    @property
    def exit_status(self) -> int | None:
        """None while it runs, and before it was started; negative if a signal ended it."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it; it may have failed a moment later."""
        self._log = self._log_path.open("wb")
        self._process = subprocess.Popen(  # noqa: S603  # the owner's own command
            ["/bin/sh", "-c", _WATCHED, "tethered", *self._command],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self, limit_s: float) -> None:
        """End it with SIGTERM, and whatever is left of it after `limit_s` with SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
        # macOS refuses a signal to a group of which only the dead are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, self._log):
            if stream:
                stream.close()
