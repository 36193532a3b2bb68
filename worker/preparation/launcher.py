"""Starts the fork server, and asks it for processes."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from worker.preparation.fork_server import REPORT, REQUEST, RUNS
from worker.preparation.settings import PreparationSettings
from worker.preparation.shared_images import SharedImages

# Signals first: until they are ignored, Ctrl-C in the terminal would end it.
_BOOT = """
import signal, sys
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(each, signal.SIG_IGN)
import pickle
sys.path[:] = pickle.load(sys.stdin.buffer)
from worker.preparation.fork_server import main
main(pickle.load(sys.stdin.buffer), *map(int, sys.argv[1:]))
"""
# One thread: a fork copies none but the one that forks.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "MALLOC_ARENA_MAX": "2",
}


class Report(NamedTuple):
    """What the fork server says of a process: that it runs, or with which status it ended."""

    place: int
    pid: int
    status: int

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, or could not be started."""
        return self.status != RUNS


class ForkServerHandle:
    """A fork server that was started; must be used by the thread that made it.

    On Linux it is killed when that thread ends, and so with the whole process in any case.

    Args:
        settings: For its processes.
        images: Where they put pixels.

    Attributes:
        is_ready: Whether it has reported anything.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, settings: PreparationSettings, images: SharedImages) -> None:
        self.socket, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), images.descriptor)
        try:
            with theirs:
                self.process = subprocess.Popen(  # noqa: S603  # our own command
                    [sys.executable, "-c", _BOOT, *map(str, (os.getpid(), *descriptors))],
                    stdin=subprocess.PIPE,
                    env=os.environ | _ENVIRONMENT,
                    pass_fds=descriptors,
                )
        except BaseException:
            self.socket.close()
            raise
        assert self.process.stdin is not None
        with contextlib.suppress(OSError), self.process.stdin as pipe:  # if it died, `reports` says
            pipe.write(pickle.dumps(sys.path) + pickle.dumps(settings))
        self.socket.settimeout(0)
        self.pid = self.process.pid
        self.is_ready = False
        self._buffer = b""

    def start_process(self, place: int, connection: socket.socket) -> None:
        """Have a process started that uses this end of a socket pair.

        Raises:
            OSError: The server is gone, or does not listen.
        """
        socket.send_fds(self.socket, [REQUEST.pack(place)], [connection.fileno()])

    def reports(self) -> Iterator[Report]:
        """What the server has said since.

        Raises:
            EOFError: It has ended.
        """
        try:
            data = self.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self.is_ready = True
        self._buffer += data
        whole = len(self._buffer) // REPORT.size * REPORT.size
        reports, self._buffer = self._buffer[:whole], self._buffer[whole:]
        yield from (Report(*fields) for fields in REPORT.iter_unpack(reports))

    def close(self, timeout_s: float = 0.0) -> None:
        """End it, and with it all its processes; reap it.

        Args:
            timeout_s: How long it may take to end by itself.
        """
        self.socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
            return
        self.process.kill()
        self.process.wait()
