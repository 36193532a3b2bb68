"""Stores rows as JSON lines in one file."""

from __future__ import annotations

import fcntl
import os
import stat
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clip_worker.errors import ServiceError
from clip_worker.sinks.durable import sync_folder, write_all
from clip_worker.sinks.failures import sink_failed, translated_os_errors
from clip_worker.sinks.record import record_json
from clip_worker.sinks.row import Row

TAIL_BYTES = 4096  # before the position, by which a file is recognised


class JsonlSink:
    """Appends a line per row, a JSON object in UTF-8.

    A position is `<bytes>:<checksum>`: the length of the file, and the CRC-32 of the last 4 KiB
    before it. What lies behind it is cut off when the run continues. If a checksum differs, the
    file is another one, and is left alone.

    Args:
        path: The file. It is made if it does not exist, and must be empty for a new run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._size = 0

    def open(self, position: str | None) -> None:
        """See `Sink.open`."""
        try:
            with translated_os_errors(self._path):
                self._open(position)
        except ServiceError:
            self.close()
            raise

    def write(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See `Sink.write`."""
        self.write_lines([record_json(row) for row in rows])
        return ()

    def write_lines(self, lines: Sequence[str]) -> None:
        """See `LineSink.write_lines`."""
        data = "".join(f"{line}\n" for line in lines).encode()
        with translated_os_errors(self._path):
            try:
                write_all(self._file, data)
            except OSError:
                with suppress(OSError):  # the next run cuts it off, if this can't
                    os.ftruncate(self._file, self._size)
                    os.lseek(self._file, self._size, os.SEEK_SET)
                raise
            self._size += len(data)

    def commit(self) -> str:
        """See `Sink.commit`."""
        with translated_os_errors(self._path):
            os.fsync(self._file)
            return f"{self._size}:{self._checksum(self._size)}"

    def close(self) -> None:
        """See `Sink.close`."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, position: str | None) -> None:
        create = os.O_CREAT if position is None else 0
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | create, 0o666)
        except FileNotFoundError as error:
            if position is None:
                raise
            raise self._changed() from error
        self._lock()
        self._size = self._checked(position)
        os.ftruncate(self._file, self._size)
        os.fsync(self._file)
        os.lseek(self._file, self._size, os.SEEK_SET)
        sync_folder(self._path.parent)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise sink_failed(
                self._path, "another run is writing to it", "wait for that run's end"
            ) from error

    def _checked(self, position: str | None) -> int:
        """The length that the file is to have."""
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            raise sink_failed(self._path, "it is not a regular file", "name another file")
        if position is None:
            if found.st_size:
                raise sink_failed(
                    self._path,
                    f"it exists, with {found.st_size} bytes, and is not of this run",
                    "name another file, or remove it,",
                )
            return 0
        size, _, checksum = position.partition(":")
        if found.st_size < int(size) or self._checksum(int(size)) != checksum:
            raise self._changed()
        return int(size)

    def _checksum(self, size: int) -> str:
        """The checksum of what lies before a position in bytes."""
        start = max(0, size - TAIL_BYTES)
        return f"{zlib.crc32(os.pread(self._file, size - start, start)):08x}"

    def _changed(self) -> ServiceError:
        return sink_failed(
            self._path,
            "it was changed, replaced or removed since the run's last commit",
            "restore it, or start a new run with another file and journal,",
        )
