"""Verifies files in the Hugging Face hub's cache by the hashes that they are named after.

A snapshot's files are links to blobs, whose names are the hashes that the hub gave: SHA-256 of
large files, and of small ones git's SHA-1 of a header and the content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from clip_engine.weights.checksum import sha256_of

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


def damaged_files(folder: Path) -> Iterator[Path]:
    """The files of a snapshot whose content has another hash than the hub gave.

    Files that are no links, as on file systems without them, have no hash to compare.

    Raises:
        OSError: A file can't be read, or its blob is missing.
    """
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        if path.is_symlink() and blob.name != _digest(blob):
            yield path


def _digest(blob: Path) -> str:
    """The hash of a blob, of the kind that its name is; the name if it is no hash."""
    if _SHA256.fullmatch(blob.name):
        return sha256_of(blob)
    if _SHA1.fullmatch(blob.name):
        content = blob.read_bytes()
        header = b"blob %d\0" % len(content)
        return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
    return blob.name
