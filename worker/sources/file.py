"""Images in the worker's file system, below the folders that its operator has allowed.

A path is checked twice: by its spelling before the disk is accessed, so that nobody can find out
what exists outside, and again component by component while it is opened, so that a folder can't be
replaced by a symbolic link between check and opening. Only a path with links is resolved.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from clip_worker.contract.uri import file_path
from clip_worker.contract.uri_errors import too_large
from clip_worker.errors import ClipWorkerError, ImageUnavailableError, TemporaryError
from clip_worker.quoting import shown_uri
from worker.sources.reservation import Reserve, unlimited

if TYPE_CHECKING:
    from worker.sources.policy import FetchLimits

# O_PATH needs only search permission, like opening a path below the folder.
_FOLDER_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
# O_NONBLOCK: opening a FIFO without a writer would wait for one.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_NOT_REGULAR = {errno.ENXIO, errno.ENODEV}  # from opening a socket or a missing device
_SWAPPED = {errno.ELOOP, errno.EMLINK}  # a symbolic link where the resolved path had none
_PERHAPS_LINKED = _SWAPPED | {errno.ENOTDIR}
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
_DENIED = {errno.EACCES, errno.EPERM}


class FileSource:
    """Reads `file:` URIs below the given roots.

    Args:
        roots: Folders; each may be a symbolic link or below one.
        limits: The size limit applies.
    """

    def __init__(self, roots: tuple[Path, ...], limits: FetchLimits) -> None:
        self._roots = tuple(Path(os.path.abspath(root)) for root in roots)  # noqa: PTH100 - keeps links
        self._limits = limits

    def fetch(self, uri: str, reserve: Reserve = unlimited) -> bytes:
        """Read a regular file.

        Raises:
            InvalidRequestError: `BAD_URI`.
            ImageUnavailableError: `FILE_OUTSIDE_ROOTS` (whether or not the file exists),
                `FILE_NOT_FOUND`, `FILE_NOT_REGULAR`, `FILE_NOT_READABLE`, `FETCH_TOO_LARGE`.
            TemporaryError: `FILE_IO`: the disk or network file system failed.
        """
        path = Path(file_path(uri))
        if not any(path.is_relative_to(root) for root in self._roots):
            raise _outside(uri)
        try:
            return self._read(uri, path, reserve)
        except OSError as error:
            raise _translated(uri, error) from error

    def _read(self, uri: str, path: Path, reserve: Reserve) -> bytes:
        root = next(root for root in self._roots if path.is_relative_to(root))
        try:
            descriptor = _open_below(root, path.relative_to(root).parts)
        except OSError as error:
            if error.errno not in _PERHAPS_LINKED:
                raise
            return self._read_linked(uri, path, reserve)
        return self._read_descriptor(uri, descriptor, reserve)

    def _read_linked(self, uri: str, path: Path, reserve: Reserve) -> bytes:
        resolved = Path(os.path.realpath(path))
        for root in self._roots:
            real_root = Path(os.path.realpath(root))
            if resolved.is_relative_to(real_root):
                descriptor = _open_below(real_root, resolved.relative_to(real_root).parts)
                return self._read_descriptor(uri, descriptor, reserve)
        raise _outside(uri)

    def _read_descriptor(self, uri: str, descriptor: int, reserve: Reserve) -> bytes:
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _not_regular(uri)
            if status.st_size > self._limits.max_bytes:
                raise too_large(uri, self._limits.max_bytes)
            reserve(status.st_size)
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(status.st_size)  # not more, even if it has grown meanwhile
        finally:
            os.close(descriptor)


def _open_below(root: Path, parts: tuple[str, ...]) -> int:
    """Open `root/part/part/...` without following a symbolic link below `root`."""
    folder = os.open(root, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(parts[-1] if parts else ".", _FILE_FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def _translated(uri: str, error: OSError) -> ClipWorkerError:
    if error.errno in _MISSING:
        return ImageUnavailableError(f"There is no file at {shown_uri(uri)}.", "FILE_NOT_FOUND")
    if error.errno in _DENIED:
        return ImageUnavailableError(
            f"The worker has no permission to read {shown_uri(uri)}.", "FILE_NOT_READABLE"
        )
    if error.errno in _SWAPPED:
        return _outside(uri)
    if error.errno in _NOT_REGULAR:
        return _not_regular(uri)
    return TemporaryError(f"Reading {shown_uri(uri)} failed: {error.strerror}.", "FILE_IO")


def _outside(uri: str) -> ImageUnavailableError:
    return ImageUnavailableError(
        f"{shown_uri(uri)} is not in a folder that this worker may read; its operator can allow "
        "folders with CLIP_WORKER_FILE_ROOTS.",
        "FILE_OUTSIDE_ROOTS",
    )


def _not_regular(uri: str) -> ImageUnavailableError:
    return ImageUnavailableError(f"{shown_uri(uri)} is not a regular file.", "FILE_NOT_REGULAR")
