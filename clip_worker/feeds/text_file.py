"""Text files that are read line by line, from any position on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from clip_worker.errors import ServiceError
from clip_worker.quoting import quote

MOST_LINE_BYTES = 128 * 1024 * 1024  # an image as a data: URI
_BLOCK_BYTES = 1024 * 1024
_MARK = "\ufeff".encode()  # byte order mark, which Windows puts first


class TextFile:
    """The lines of a file in UTF-8.

    Args:
        path: Of the file.

    Attributes:
        path: As above.
        offset: Bytes up to the end of the line that was yielded last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0

    def lines(self, offset: int = 0) -> Iterator[str]:
        """Yield lines with their line breaks.

        Args:
            offset: Where to begin, as `offset` was.

        Raises:
            ServiceError: `FEED_FAILED`: the file can't be read, or is not UTF-8.
        """
        with self._opened() as file:
            file.seek(offset)
            self.offset = offset
            while line := file.readline(MOST_LINE_BYTES):
                start, self.offset = self.offset, self.offset + len(line)
                text = line.removeprefix(_MARK) if start == 0 else line
                try:
                    yield text.decode()
                except UnicodeDecodeError as error:
                    raise self._failed(f"byte {start + error.start:,} is not UTF-8") from error

    def count(self, quoted: str = "") -> int:
        """How many lines there are.

        Args:
            quoted: Quotation mark, between two of which line breaks don't count.
        """
        count, is_outside, last = 0, True, b"\n"
        with self._opened() as file:
            while block := file.read(_BLOCK_BYTES):
                parts = block.split(quoted.encode()) if quoted else [block]
                count += sum(part.count(b"\n") for part in parts[not is_outside :: 2])
                is_outside ^= len(parts) % 2 == 0
                last = block[-1:]
        return count + (last != b"\n")

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("rb") as file:
                yield file
        except OSError as error:
            raise self._failed(error.strerror or type(error).__name__) from error

    def _failed(self, reason: str) -> ServiceError:
        return ServiceError(
            f"The file {quote(str(self.path))} can't be read: {reason}; repair it, and begin a new "
            "run with another journal if that changes it.",
            "FEED_FAILED",
        )


def position_of(offset: int, row: int) -> str:
    """A position in a file: bytes, and rows before it."""
    return f"{offset}:{row}"


def read_position(position: str | None) -> tuple[int, int]:
    """The bytes and rows of a position; zeros for none."""
    offset, _, row = (position or "0:0").partition(":")
    return int(offset), int(row)
