"""Whether a file that arrives is complete."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import NamedTuple

from clip_worker.feeds.open_writers import has_writer

# Where the system can't tell whether a file has a writer, one that was not modified for so long is
# complete; one that was must stay as it is for the settle time.
LONG_UNCHANGED_S = 60.0


class Version(NamedTuple):
    """What identifies a file's content without reading it.

    Attributes:
        size_bytes: Its size.
        mtime_ns: When it was modified, in nanoseconds of Unix time.
    """

    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> Version | None:
        """The version of a file; None if it is empty, or no regular file.

        Raises:
            OSError: It is not there, or can't be examined.
        """
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or not found.st_size:
            return None
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(slots=True)
class ArrivingFile:
    """A file that may still be written.

    Attributes:
        path: Absolute.
        version: When it was last looked at.
        since: Monotonic seconds; since when it has this version.
        next_look: Monotonic seconds.
    """

    path: str
    version: Version
    since: float
    next_look: float = 0.0

    def is_complete(self, now: float, settle_s: float) -> bool:
        """Look at it again: whether nobody writes to it, as far as can be known.

        Args:
            now: Monotonic seconds.
            settle_s: How long it must stay as it is where the system can't tell.

        Raises:
            OSError: It can't be read, or is not there any more.
        """
        writer = has_writer(self.path)
        version = Version.of(self.path)
        if version is None:
            raise FileNotFoundError(self.path)
        if version != self.version:
            self.version, self.since = version, now
            return writer is False
        if writer is None:
            unchanged_s = time.time() - version.mtime_ns / 1e9
            return now - self.since >= settle_s or unchanged_s > LONG_UNCHANGED_S
        return not writer
