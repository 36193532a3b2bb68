"""Makes files durable: what a power failure must not undo."""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Make the contents of a file durable.

    Raises:
        OSError: It can't be.
    """
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: files that were made, renamed or removed.

    Raises:
        OSError: They can't be.
    """
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def write_all(file: int, data: bytes) -> None:
    """Write all of the data to a file descriptor.

    Raises:
        OSError: Some of it was not written.
    """
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _sync(path: Path, flags: int) -> None:
    opened = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
