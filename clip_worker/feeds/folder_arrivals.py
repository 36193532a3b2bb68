"""Images that arrive in a folder."""

from __future__ import annotations

import itertools
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from clip_worker.contract.text import decoded
from clip_worker.errors import ServiceError
from clip_worker.feeds.arriving_file import ArrivingFile, Version
from clip_worker.feeds.file_names import is_image_file
from clip_worker.feeds.folder_events import FolderEvents
from clip_worker.feeds.folder_scan import scan
from clip_worker.feeds.item import Item
from clip_worker.feeds.warned import Warned
from clip_worker.quoting import quote

if TYPE_CHECKING:
    from clip_worker.feeds.arrivals import Seen

logger = logging.getLogger(__name__)

SETTLE_S = 2.0
RESCAN_S = 60.0
LOOK_AGAIN_S = 0.5  # at a file that is being written
STEP_S = 0.1  # between two looks at what changed
CHUNK = 1000  # files that are looked up in the journal at a time
MOST_ARRIVING = 10_000


class FolderArrivals:
    """Yields each file of a folder when it is complete, and again when its content changes.

    A file is found by the system's events or by a scan; symbolic links are not followed. It is
    complete when no process has it open for writing; where the system can't tell, when it has not
    changed for `settle_s`.

    Args:
        folder: It, and all folders below it, except hidden ones.
        settle_s: See above, in seconds.
        rescan_s: Seconds from scan to scan, which find what the events did not report.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settle_s: float = SETTLE_S,
        rescan_s: float = RESCAN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = str(folder)
        self._root = os.path.realpath(folder)
        self._settle_s = settle_s
        self._rescan_s = rescan_s
        self._clock = clock
        self._events = FolderEvents(self._root)
        self._warned = Warned(logger)
        self._arriving: dict[str, ArrivingFile] = {}
        self._scans: deque[Iterator[str]] = deque()
        self._next_scan = math.inf  # the first is made when events are reported
        self._seen: Seen = frozenset
        self._identity = (0, 0)

    def open(self, seen: Seen) -> None:
        """Begin to watch, then to scan; see `Arrivals`."""
        self._seen = seen
        self._identity = self._identify()
        self._events.start()

    def poll(self, timeout_s: float, most: int) -> Sequence[Item]:
        """Return complete files; see `Arrivals`."""
        end = self._clock() + timeout_s
        wait_s = 0.0
        while True:
            self._check_folder()
            self._find(self._events.take(wait_s, CHUNK))
            if (items := self._complete(most)) or self._clock() >= end:
                return items
            wait_s = 0.0 if self._scans else min(STEP_S, max(0.0, end - self._clock()))

    def acknowledge(self, keys: Collection[str]) -> None:
        """Nothing is kept of a file that was yielded."""

    def close(self) -> None:
        """Stop watching."""
        self._events.stop()

    def _find(self, changed: Collection[str]) -> None:
        """Note files that changed, and the next of the scan, as far as they are new."""
        now = self._clock()
        if self._events.take_incomplete() or (not self._scans and now >= self._next_scan):
            self._next_scan = now + self._rescan_s
            self._scans.append(scan(self._root, self._warn))
        paths = {path for each in changed for path in self._below(each)}
        room = min(CHUNK, MOST_ARRIVING - len(self._arriving))
        while self._scans and len(paths) < room:
            found = [*itertools.islice(self._scans[0], room - len(paths))]
            paths.update(found)
            if not found:  # what it finds may be among those that changed
                self._scans.popleft()
        self._add_new(paths - self._arriving.keys(), now)

    def _below(self, changed: str) -> Iterator[str]:
        """The file that an event is about; a folder is scanned, as its files have no events."""
        # Events may come by a detour through a symbolic link.
        folder, name = os.path.split(changed)
        path = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118  # bytes stay as they are
        if not self._is_inside(path):
            return
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114  # as above
            self._scans.append(scan(path, self._warn))
        elif is_image_file(name):
            yield path

    def _is_inside(self, path: str) -> bool:
        relative = os.path.relpath(path, self._root)
        return not any(part.startswith(".") and part != "." for part in Path(relative).parts)

    def _add_new(self, paths: Collection[str], now: float) -> None:
        found = {}
        for path in paths:
            try:
                version = Version.of(path)
            except OSError as error:
                self._skip(path, error)
                continue
            if version is not None:
                found[self._key(path, version)] = ArrivingFile(path, version, now)
            elif os.path.islink(path):  # noqa: PTH114  # as above
                self._warn(path, "is a symbolic link, which is not followed")
        for key in self._seen(found):
            del found[key]
        self._arriving |= {file.path: file for file in found.values()}

    def _complete(self, most: int) -> list[Item]:
        now = self._clock()
        due = [file for file in self._arriving.values() if now >= file.next_look]
        items: list[Item] = []
        for file in itertools.islice(due, CHUNK):
            if len(items) == most:
                break
            try:
                if not file.is_complete(now, self._settle_s):
                    file.next_look = now + LOOK_AGAIN_S
                    continue
                items.append(self._item(file))
            except OSError as error:
                self._skip(file.path, error)
            del self._arriving[file.path]
        return items

    def _item(self, file: ArrivingFile) -> Item:
        relative = os.path.relpath(file.path, self._root)
        shown = os.path.join(self._shown, relative)  # noqa: PTH118  # as above
        return Item(self._key(file.path, file.version), _text(shown), Path(file.path))

    def _key(self, path: str, version: Version) -> str:
        relative = os.path.relpath(path, self._root)
        return f"{_text(relative)} {version.size_bytes} {version.mtime_ns}"

    def _skip(self, path: str, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self._warn(path, f"can't be read: {error.strerror}")

    def _warn(self, path: str, reason: str) -> None:
        self._warned(quote(_text(path)), reason)

    def _check_folder(self) -> None:
        if self._identify() != self._identity:
            raise _failed(self._shown, "is another folder now, perhaps because a disk was mounted")

    def _identify(self) -> tuple[int, int]:
        try:
            found = Path(self._root).stat()
            with os.scandir(self._root):
                return found.st_dev, found.st_ino
        except OSError as error:
            raise _failed(self._shown, f"can't be read: {error.strerror}") from error


def _text(path: str) -> str:
    return decoded(path) or quote_from_bytes(os.fsencode(path))


def _failed(folder: str, reason: str) -> ServiceError:
    return ServiceError(
        f"The folder {quote(folder)} {reason}; start `clip-worker watch` again when it is there.",
        "FEED_FAILED",
    )
