"""Files that are replaced together at a commit, each in one step."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from clip_worker.sinks.durable import sync_file, sync_folder, write_all
from clip_worker.sinks.failures import translated_os_errors


class StagedFiles:
    """Writes files under temporary names, and renames all of them at a commit.

    So nobody sees half a file, and a power failure leaves the old one or the new one. The temporary
    name of `cat.jpg.json` is `.cat.jpg.json.new`: what a killed run leaves is replaced by the next.
    Each method raises `ServiceError` with `SINK_FAILED` if the system refuses something.
    """

    def __init__(self) -> None:
        self._staged: dict[Path, None] = {}  # in order

    def read(self, path: Path, most_bytes: int) -> bytes | None:
        """A file's content, the staged one if there is one; None if there is no file.

        Raises:
            ValueError: It is larger than `most_bytes`.
        """
        place = _temporary(path) if path in self._staged else path
        with translated_os_errors(path):
            try:
                # A link would be followed on reading, but be replaced on writing.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                opened = os.open(place, flags)
            except FileNotFoundError:
                return None
            with os.fdopen(opened, "rb") as file:
                data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise ValueError(f"it is larger than {most_bytes} bytes")
        return data

    def write(self, path: Path, data: bytes) -> None:
        """Stage the new content of a file, which keeps its permissions."""
        temporary = _temporary(path)
        with translated_os_errors(path):
            temporary.unlink(missing_ok=True)  # of a run that was killed, or somebody's link
            opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            self._staged[path] = None
            try:
                write_all(opened, data)
            finally:
                os.close(opened)
            with suppress(FileNotFoundError):
                shutil.copymode(path, temporary)

    def commit(self) -> None:
        """Put all staged files in their places, durably; not those whose folder is gone."""
        for path in self._staged:
            with translated_os_errors(path), suppress(FileNotFoundError):
                sync_file(_temporary(path))
        for path in self._staged:
            with translated_os_errors(path), suppress(FileNotFoundError):
                _temporary(path).replace(path)
        for folder in {path.parent for path in self._staged}:
            with translated_os_errors(folder), suppress(FileNotFoundError):
                sync_folder(folder)
        self._staged.clear()

    def discard(self) -> None:
        """Remove what is staged."""
        for path in self._staged:
            with suppress(OSError):
                _temporary(path).unlink(missing_ok=True)
        self._staged.clear()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")
