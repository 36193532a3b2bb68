"""Whether a file is open for writing, as Linux knows.

A read lease is granted only while nobody has the file open for writing (fcntl(2), F_SETLEASE).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
from collections.abc import Iterator

# A writer that opens the file while the lease is held signals its holder: by default with SIGIO,
# which would end this process. This one is ignored by default.
_SIGNAL = signal.SIGURG


def has_writer(path: str) -> bool | None:
    """Whether a process has the file open for writing; None if the system can't tell.

    It can't on network file systems, where the file is another user's, and outside Linux.

    Raises:
        OSError: The file can't be read.
    """
    with _opened(path) as descriptor:
        if not hasattr(fcntl, "F_SETLEASE"):
            return None
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, _SIGNAL)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return True if error.errno == errno.EAGAIN else None
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    # Without waiting for the writer of a pipe that has taken the file's place.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
