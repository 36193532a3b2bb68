"""What changes in a folder, as the system reports it: inotify on Linux."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

from clip_worker.errors import ServiceError
from clip_worker.quoting import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

MOST_PATHS = 100_000  # that wait to be looked at; beyond that the folder is scanned instead
DEBOUNCE_MS = 200
STEP_MS = 20
STOP_MS = 200  # until the thread sees that it should stop
RESTART_S = 1.0
UNREADABLE_NAME = "Unable to decode path"  # watchfiles ends at a name that is not UTF-8


class FolderEvents:
    """Collects the paths that changed, on a thread of its own.

    Events may be lost, and a network file system reports none of other machines: the caller scans
    the folder at times.

    Args:
        folder: Absolute path.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._paths: queue.Queue[str] = queue.Queue(MOST_PATHS)
        self._incomplete = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch.

        Raises:
            ServiceError: `NO_WATCHFILES`: the package is not installed.
        """
        try:
            import watchfiles  # noqa: F401  # the thread needs it
        except ImportError as error:
            raise ServiceError(
                'Watching a folder needs watchfiles; run pip install "clip-worker[watch]".',
                "NO_WATCHFILES",
            ) from error
        self._thread = threading.Thread(target=self._run, name="folder-events", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; again does nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def take(self, timeout_s: float, most: int) -> set[str]:
        """Paths of what was added or modified; it waits for the first."""
        paths: set[str] = set()
        try:
            paths.add(self._paths.get(timeout=max(timeout_s, 0.001)))
            while len(paths) < most:
                paths.add(self._paths.get_nowait())
        except queue.Empty:
            pass
        return paths

    def take_incomplete(self) -> bool:
        """Whether, since the last call, changes were missed: before events began, or too many."""
        was_incomplete = self._incomplete.is_set()
        self._incomplete.clear()
        return was_incomplete

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._watch()
            except Exception as error:  # noqa: BLE001  # watchfiles' own; the scans go on
                self._incomplete.set()
                if UNREADABLE_NAME not in str(error):
                    self._warn(error)
                    return
                self._stopping.wait(RESTART_S)

    def _watch(self) -> None:
        from watchfiles import Change, watch

        begun = False
        for changes in watch(
            self._folder,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=self._stopping,
            rust_timeout=STOP_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            if not begun:
                begun = True
                self._incomplete.set()
            self._add(path for change, path in changes if change is not Change.deleted)

    def _warn(self, error: Exception) -> None:
        logger.warning(
            "The system does not report changes of %s (%s): new files are found only by scans. "
            "If its limit is reached, raise fs.inotify.max_user_watches.",
            quote(self._folder),
            error,
        )

    def _add(self, paths: Iterable[str]) -> None:
        try:
            for path in paths:
                self._paths.put_nowait(path)
        except queue.Full:
            self._incomplete.set()
