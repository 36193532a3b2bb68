"""Child processes that end with their parent, however the parent ends.

A child runs in its own session, so that Ctrl-C in the terminal reaches only the parent, which may
still need the child to finish its work. A pipe ties the two together: the parent holds the write
end and never writes; a small shell process beside the child waits on the read end. When the parent
ends, even by `kill -9`, the system closes the pipe and the shell kills the child. Unlike Linux's
`PR_SET_PDEATHSIG` this works on macOS too, needs no code between fork and exec, and depends on the
parent process, not on the thread that started the child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# $$ is the shell's process id and, after exec, the child's. It can't have been reused when the
# watcher kills it: the watcher is a member of the process group of that number.
_WATCHED = 'exec 3<&0; (read -r _ <&3; kill -KILL $$) & exec "$@" 3<&- </dev/null'


def start_child(
    command: Sequence[str],
    log: IO[bytes] | None,
    *,
    environment: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process.

    Args:
        command: Program and arguments.
        log: File for stdout and stderr; None for this process's.
        environment: Its environment variables; None for this process's.
        directory: Its working directory; None for this process's.
        pass_fds: Descriptors that it keeps, none of them below 10: shells use those.
    """
    return subprocess.Popen(  # noqa: S603  # the caller's own command
        ["/bin/sh", "-c", _WATCHED, "child", *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        env=environment,
        cwd=directory,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def kill_child(process: subprocess.Popen[bytes]) -> None:
    """Kill the program, all processes that it has started, and its watcher."""
    # macOS refuses to signal a process group with only zombies left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


class ChildProcess:
    """A program that runs in the background and writes its output to a file.

    Args:
        command: Program and arguments.
        environment: Its environment variables.
        log_path: File for stdout and stderr.
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
    def output(self) -> str:
        """What it has printed so far."""
        return self._log_path.read_text("utf-8", errors="replace")

    @property
    def exit_status(self) -> int | None:
        """None while it runs, and before it was started; negative if a signal ended it."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the program."""
        self._log = self._log_path.open("wb")
        self._process = start_child(self._command, self._log, environment=self._environment)

    def stop(self, limit_s: float) -> None:
        """End it with SIGTERM, and with SIGKILL if it still runs after `limit_s`."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
        kill_child(process)
        if self._log:
            self._log.close()
