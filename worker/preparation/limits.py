"""What a preparation process may not do, set by itself before it sees an image."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1  # of prctl(2)
_SET_NAME = 15
_SET_NO_NEW_PRIVILEGES = 38
_OOM_SCORE = "500"  # of 1000: the kernel ends this process before the one with the model
_SLACK_BYTES = 320 * 1024 * 1024  # of addresses: the C library's arenas, and stacks of threads
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def restrict_fork_server(parent: int) -> None:
    """End with the parent, gain no privileges, leave no core file, and ignore the terminal.

    Args:
        parent: Its process id.
    """
    for each in _IGNORED:  # Ctrl-C goes to the whole group; the parent says when to end
        signal.signal(each, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_SET_NO_NEW_PRIVILEGES, 1)
    end_with_parent(parent)


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, where it can (Linux)."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it died before
        os._exit(1)


def restrict_process(place: int, files: int) -> None:
    """Be the first to go when memory runs out, and open few files.

    Args:
        place: The process's number, for its name.
        files: Most that it may have open.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = files if hard == resource.RLIM_INFINITY else min(files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _prctl(_SET_NAME, f"clip-prepare-{place}".encode())


class MemoryLimit:
    """Bounds what this process may map, beside what it has mapped already.

    Args:
        own_bytes: It may always have.
        shared_bytes: It may have on top, at most, for a large image.
    """

    def __init__(self, own_bytes: int, shared_bytes: int) -> None:
        self._own_bytes = own_bytes
        mapped = _mapped_bytes()
        self._base = None if mapped is None else mapped + _SLACK_BYTES
        before = resource.getrlimit(resource.RLIMIT_AS)[1]
        self._hard = (self._base or 0) + own_bytes + shared_bytes
        if before != resource.RLIM_INFINITY:
            self._hard = min(self._hard, before)
        self.allow(0)

    def allow(self, beyond_bytes: int) -> None:
        """Allow the process's own, and so much more for a large image."""
        if self._base is not None:
            soft = min(self._base + self._own_bytes + beyond_bytes, self._hard)
            resource.setrlimit(resource.RLIMIT_AS, (soft, self._hard))


def _mapped_bytes() -> int | None:
    """Bytes of addresses in use; None where the system does not say (macOS)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return None
    return pages * resource.getpagesize()


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        argument = ctypes.c_ulong(value) if isinstance(value, int) else value
        nothing = ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(option, argument, nothing, nothing, nothing)
