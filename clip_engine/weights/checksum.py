"""Verifies files by their SHA-256, and remembers the result in a note beside each file.

Hashing a gigabyte takes seconds, so the size, modification time and digest of a verified file are
noted in a small file beside it. A file whose size and time match its note isn't hashed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NOTE_SUFFIX = ".verified"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hex digits in lower case."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_verified(path: Path, sha256: str) -> bool:
    """Whether a file exists and has this SHA-256; the result is noted.

    Raises:
        OSError: The file exists but can't be read.
    """
    if is_noted(path, sha256):
        return True
    try:
        if sha256_of(path) != sha256:
            return False
    except FileNotFoundError:
        return False
    note_verified(path, sha256)
    return True


def is_noted(path: Path, sha256: str) -> bool:
    """Whether a note says that this file has this SHA-256; nothing is hashed.

    Raises:
        OSError: The file exists but its size can't be read.
    """
    try:
        return bool(_noted(path) == _note_of(path, sha256))
    except FileNotFoundError:
        return False


def recomputed_digest(path: Path, sha256: str) -> str:
    """Hash a file regardless of its note, and update the note.

    Disks corrupt data without changing a file's size or time, which a note doesn't detect.

    Returns:
        The file's SHA-256, which is `sha256` if the file is intact.

    Raises:
        OSError: The file can't be read, or a wrong note can't be removed.
    """
    digest = sha256_of(path)
    if digest == sha256:
        note_verified(path, sha256)
    else:
        _note_path(path).unlink(missing_ok=True)
    return digest


def note_verified(path: Path, sha256: str) -> None:
    """Note that a file has this SHA-256.

    Errors are ignored: a read-only cache works without notes, only slower.
    """
    with contextlib.suppress(OSError):
        _note_path(path).write_text(json.dumps(_note_of(path, sha256)))


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + NOTE_SUFFIX)


def _note_of(path: Path, sha256: str) -> dict[str, Any]:
    status = path.stat()
    return {"sha256": sha256, "size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _noted(path: Path) -> Any:
    try:
        return json.loads(_note_path(path).read_text())
    except (OSError, ValueError):  # no note, or only half of it was written
        return None
