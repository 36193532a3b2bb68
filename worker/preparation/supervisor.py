"""Starts the processes of a pool, replaces those that end, and ends them all."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable

from worker.preparation.decode_watch import DecodeWatch
from worker.preparation.handle import ProcessHandle
from worker.preparation.launcher import ForkServerHandle, Report
from worker.preparation.settings import PreparationSettings
from worker.preparation.shared_images import NONE, SharedImages

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_PATIENCE = 3  # attempts to start something, after which images that wait fail
_SERVER_S = 10.0  # that the fork server may take to report a process
_SURPLUS = "it is not needed any more"


class Supervisor:
    """Keeps as many processes as there should be. One thread uses it.

    Args:
        settings: For the processes.
        images: Where they put pixels.
        selector: Watches their sockets.
        ended: Called with each process that has ended, when nothing of it is left.
        unavailable: Called with the reason when no process can be started, and none is there.

    Attributes:
        by_place: Those that are there or about to be.
        restarts: Processes that ended and were needed.
    """

    def __init__(
        self,
        settings: PreparationSettings,
        images: SharedImages,
        selector: selectors.BaseSelector,
        ended: Callable[[ProcessHandle], None],
        unavailable: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._images = images
        self._selector = selector
        self._ended = ended
        self._unavailable = unavailable
        self._server: ForkServerHandle | None = None
        self._silent_s = 0.0  # how long the fork server has had something to report
        self._failures = 0  # in a row
        self._next_try_s = 0.0
        self.by_place: dict[int, ProcessHandle] = {}
        self.restarts = 0

    @property
    def server_pid(self) -> int:
        """The fork server's process id; 0 if there is none."""
        return self._server.pid if self._server else 0

    @property
    def live(self) -> list[ProcessHandle]:
        """Those that may be given images; any thread may ask."""
        return [each for each in list(self.by_place.values()) if each.is_live]

    def pause_s(self) -> float | None:
        """Seconds until the next attempt to start something; None if none is due."""
        return max(0.0, self._next_try_s - time.monotonic()) if self._next_try_s else None

    def adjust(self, *, is_work_waiting: bool) -> None:
        """Start what is missing, and end what is too much."""
        if time.monotonic() < self._next_try_s:
            return
        self._next_try_s = 0.0
        if self._server is None:
            self._start_server()
        reserved = sum(each.is_reserved for each in self.by_place.values())
        wanted = self._settings.processes + (reserved if is_work_waiting else 0)
        for place in range(self._settings.places):
            if len(self.by_place) >= wanted or self._next_try_s or self._server is None:
                break
            if place not in self.by_place:
                self._start_process(place, self._server)
        if not reserved and not is_work_waiting and len(self.by_place) > wanted:
            for process in [each for each in self.live if not each.images][:1]:
                process.kill(_SURPLUS)

    def process_works(self, process: ProcessHandle) -> None:
        """A process has sent something: so it is ready, and others can be started."""
        process.is_sound = True
        self._failures = 0

    def tick(self, elapsed_s: float) -> None:
        """End a fork server that reports nothing; it may have been stopped by a signal."""
        is_due = any(each.is_broken or not each.pid for each in self.by_place.values())
        self._silent_s = self._silent_s + elapsed_s if is_due else 0.0
        if self._server and self._server.is_ready and self._silent_s >= _SERVER_S:
            logger.error("The fork server does not answer; starting another")
            self._server.process.kill()

    def stop_listening(self, process: ProcessHandle) -> None:
        """Nothing more comes from its socket."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(process.connection)

    def stop(self, timeout_s: float) -> None:
        """End all of them."""
        for process in self.by_place.values():
            self.stop_listening(process)
            process.connection.close()
        self.by_place.clear()
        if self._server:
            self._selector.unregister(self._server.socket)
            self._server.close(timeout_s)
            self._server = None

    def _start_server(self) -> None:
        try:
            self._server = ForkServerHandle(self._settings, self._images)
        except OSError as error:
            self._failed(f"The fork server can't be started: {error}")
            return
        self._silent_s = 0.0
        self._selector.register(self._server.socket, selectors.EVENT_READ, self._take_reports)

    def _start_process(self, place: int, server: ForkServerHandle) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._failed(f"A preparation process can't be started: {error}")
            return
        process = ProcessHandle(place, ours, DecodeWatch(self._settings))
        self.by_place[place] = process
        self._images.decoding[place], self._images.waiting[place] = NONE, 0
        self._selector.register(ours, selectors.EVENT_READ, process)
        try:
            with theirs:
                server.start_process(place, theirs)
        except OSError:  # it is gone, which its own socket is about to say
            self._bury(process)
            self._next_try_s = time.monotonic() + _FIRST_PAUSE_S

    def _take_reports(self) -> None:
        assert self._server is not None
        self._silent_s = 0.0
        try:
            for report in self._server.reports():
                self._take_report(report)
        except EOFError:
            self._lose_server(self._server)

    def _take_report(self, report: Report) -> None:
        process = self.by_place.get(report.place)
        if process is None:
            return
        if not report.has_ended:
            process.pid = report.pid
            if process.is_broken:
                process.kill("")
            return
        how = _how_it_ended(report.status)
        is_unable = not process.reason and not process.is_sound
        process.reason = process.reason or f"it {how}"
        self.restarts += process.reason != _SURPLUS
        self._bury(process)
        if is_unable:
            self._failed(f"A preparation process {how} before it was ready")

    def _bury(self, process: ProcessHandle) -> None:
        """A process is gone for good: nothing writes to its slots any more."""
        del self.by_place[process.place]
        self.stop_listening(process)
        process.is_broken = True
        self._ended(process)
        process.connection.close()

    def _failed(self, reason: str) -> None:
        pause_s = min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
        self._failures += 1
        self._next_try_s = time.monotonic() + pause_s
        logger.error("%s; trying again in %.1f s", reason, pause_s)
        if self._failures >= _PATIENCE and not self.live:
            self._unavailable(reason)

    def _lose_server(self, server: ForkServerHandle) -> None:
        """All its processes end with it; on Linux the kernel has killed them already."""
        self._server = None
        self._selector.unregister(server.socket)
        server.close()
        for process in list(self.by_place.values()):
            process.kill("its fork server ended")
            self._bury(process)
            _reap(process.pid)
        self._failed(f"The fork server {_how_it_ended(server.process.returncode)}")


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _reap(pid: int) -> None:
    """Where this process is the container's first it inherits orphans, and has to reap them."""
    if pid:
        with contextlib.suppress(ChildProcessError):  # usually the system's first process does it
            os.waitpid(pid, 0)
