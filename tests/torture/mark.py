"""The mark that tells a picture's task: in its bytes, whatever else they are, and in its URI.

Without it nobody could say which task a worker was decoding when it died: the bytes that reach the
decoder don't know their task.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Self

START_OF_IMAGE = b"\xff\xd8"
COMMENT = b"\xff\xfe"
_IN_BYTES = re.compile(rb"torture:(\d+):([a-z]+);")
_IN_URI = re.compile(r"torture-(\d+)-([a-z]+)\.")
_SEARCHED_BYTES = 128
_SEARCHED_CHARACTERS = 4 * _SEARCHED_BYTES // 3 // 4 * 4  # whole groups of base64


@dataclass(frozen=True)
class Mark:
    """A task's number, and what its picture does to who decodes it."""

    number: int
    kind: str

    @property
    def file_name(self) -> str:
        return f"torture-{self.number}-{self.kind}.jpg"

    @property
    def data(self) -> bytes:
        return b"torture:%d:%s;" % (self.number, self.kind.encode())

    def stamp(self, jpeg: bytes) -> bytes:
        """The picture with the mark as its first comment, which changes no pixel."""
        segment = COMMENT + (len(self.data) + 2).to_bytes(2, "big") + self.data
        return START_OF_IMAGE + segment + jpeg[len(START_OF_IMAGE) :]

    @classmethod
    def in_bytes(cls, data: bytes) -> Self | None:
        found = _IN_BYTES.search(data, 0, _SEARCHED_BYTES)
        return cls(int(found[1]), found[2].decode()) if found else None

    @classmethod
    def in_uri(cls, uri: str) -> Self | None:
        if uri.startswith("data:"):
            start = uri.index(",") + 1
            return cls.in_bytes(base64.b64decode(uri[start : start + _SEARCHED_CHARACTERS]))
        found = _IN_URI.search(uri)
        return cls(int(found[1]), found[2]) if found else None
