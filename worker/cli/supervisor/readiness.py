"""How a worker tells its supervisor that it takes tasks: it writes a byte into a pipe.

The pipe's descriptor is in an environment variable, which stays, but empty, when the worker runs
its program anew after SIGHUP: it is still supervised, and the descriptor is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Mapping, MutableMapping

from worker.variables import SUPERVISED

_LOWEST_FD = 10  # shells use those below


def is_supervised(environment: Mapping[str, str]) -> bool:
    """Whether this process is a worker of a supervisor."""
    return SUPERVISED in environment


def ready_sender(environment: MutableMapping[str, str]) -> Callable[..., None]:
    """A function, for Celery's signal, that tells the supervisor, if there is one, once."""
    text = environment.get(SUPERVISED)
    if not text:
        return lambda **_: None
    environment[SUPERVISED] = ""
    descriptor = int(text)
    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)

    def send(**_: object) -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone, and so is this worker soon
            os.write(descriptor, b"\n")
            os.close(descriptor)

    return send


class ReadyPipe:
    """The supervisor's end of the pipe.

    Attributes:
        is_ready: Whether the worker has been ready.
        theirs: The worker's end, which this process must close once it has started the worker.
    """

    def __init__(self) -> None:
        self.is_ready = False
        ours, theirs = os.pipe()
        self.theirs = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FD)
        os.close(theirs)
        os.set_blocking(ours, False)
        self._ours: int | None = ours

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when the worker is ready, or has closed its end."""
        return [] if self._ours is None else [self._ours]

    def read(self) -> None:
        """Read what the worker has sent, if anything."""
        if self._ours is not None:
            with contextlib.suppress(BlockingIOError):
                self.is_ready = bool(os.read(self._ours, 1))
                self.close()

    def close(self) -> None:
        """Close the supervisor's end."""
        if self._ours is not None:
            os.close(self._ours)
            self._ours = None
