"""A child process that ends with its owner, however the owner ends.

The child runs in a session of its own, so that Ctrl-C in the terminal reaches the owner only, which
may still need the child to finish what it has in hand. A pipe ties the two together: the owner
holds its write end and never writes, a one-line shell watcher beside the child waits on its read
end. However the owner ends, `kill -9` included, the system closes the pipe and the watcher kills
the child. Unlike Linux's `PR_SET_PDEATHSIG` this works on macOS too, needs no code between fork
and exec, and follows the owning process, not the one thread of it that started the child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# $$ is the shell's process id, hence, after exec, the child's. It can't have passed on to another
# process when the watcher uses it: the watcher is in the group of that number and keeps it taken.
_WATCHED = 'exec 3<&0; (read -r _ <&3; kill -KILL $$) & exec "$@" 3<&- </dev/null'


def start_tethered(
    command: Sequence[str],
    log: IO[bytes],
    *,
    environment: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process.

    Args:
        command: Program and arguments.
        log: Takes stdout and stderr.
        environment: All of its environment variables; None for this process's.
        directory: Its working directory; None for this process's.
    """
    return subprocess.Popen(  # noqa: S603  # the owner's own command
        ["/bin/sh", "-c", _WATCHED, "tethered", *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=directory,
        start_new_session=True,
    )


def kill_tethered(process: subprocess.Popen[bytes]) -> None:
    """End the program, all that it has started, and its watcher, at once."""
    # macOS refuses a signal to a group of which only the dead are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()
