"""Whether a file holds the bytes it should: by its SHA-256, or by a note of an earlier check.

Hashing a gigabyte takes seconds, so a checked file's size, time of change and digest are noted in
a small file beside it; a file whose size and time still match the note is taken as it is.
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
    """Tell whether a file exists and has this SHA-256; a hash that was computed is noted.

    Raises:
        OSError: The file is there but can't be read.
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
    """Tell whether an earlier check of this very file is noted; nothing is hashed.

    Raises:
        OSError: The file is there but can't be asked for its size.
    """
    try:
        return bool(_noted(path) == _note_of(path, sha256))
    except FileNotFoundError:
        return False


def digest_anew(path: Path, sha256: str) -> str:
    """Hash a file whatever is noted of it, and note the outcome.

    Disks lose bits without changing a file's size or time, which a note alone would not show.

    Returns:
        The file's SHA-256, which is `sha256` if it is whole.

    Raises:
        OSError: The file can't be read, or a note that turned out wrong not be removed.
    """
    digest = sha256_of(path)
    if digest == sha256:
        note_verified(path, sha256)
    else:
        _note_path(path).unlink(missing_ok=True)
    return digest


def note_verified(path: Path, sha256: str) -> None:
    """Note that a file was found to have this SHA-256; without a word where nothing can be written.

    A read-only cache works without notes, only slower.
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
    except (OSError, ValueError):  # none yet, or half written by a process that died
        return None
