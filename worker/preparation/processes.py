"""The processes of a pool: starts them, replaces them, ends them."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable

from worker.preparation.fork_server import EXITED, FAILED, READY, STARTED
from worker.preparation.handle import ProcessHandle
from worker.preparation.launcher import ForkServerHandle, Report
from worker.preparation.settings import PreparationSettings
from worker.preparation.shared_images import SharedImages

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_PATIENCE = 3  # attempts to start something, after which those who wait are told
_SERVER_S = 10.0  # that the fork server may take to tell of a process
_SURPLUS = "it is not needed any more"


class Processes:
    """Keeps as many processes as there should be. One thread uses it.

    Args:
        settings: For the processes.
        images: Where they put pixels.
        selector: Is told of their sockets.
        died: Called with each process that has ended, when nothing of it is left.
        unavailable: Called with the reason when no process can be started, and none is there.

    Attributes:
        by_place: Those that are there or about to be.
        restarts: Processes that were started in the place of one that died.
    """

    def __init__(
        self,
        settings: PreparationSettings,
        images: SharedImages,
        selector: selectors.BaseSelector,
        died: Callable[[ProcessHandle], None],
        unavailable: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._images = images
        self._selector = selector
        self._died = died
        self._unavailable = unavailable
        self._server: ForkServerHandle | None = None
        self._is_ready = False
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
        """Those that may be given pictures."""
        known = (each for each in self.by_place.values() if each.pid and each.is_sound)
        return [each for each in known if not each.is_broken]

    def has(self, process: ProcessHandle) -> bool:
        """Whether a process has not been buried."""
        return self.by_place.get(process.place) is process

    def pause_s(self) -> float | None:
        """Seconds until the next attempt to start something; None if none is due."""
        return max(0.0, self._next_try_s - time.monotonic()) if self._next_try_s else None

    def see_to(self, *, is_work_waiting: bool) -> None:
        """Start what is missing, and retire what is too much."""
        if time.monotonic() < self._next_try_s:
            return
        self._next_try_s = 0.0
        if self._server is None:
            self._start_server()
        if not self._is_ready:
            return
        slow = sum(each.is_slow for each in self.by_place.values())
        wanted = self._settings.processes + (slow if is_work_waiting else 0)
        for place in range(self._settings.places):
            if len(self.by_place) >= wanted or self._next_try_s or self._server is None:
                break
            if place not in self.by_place:
                self._start_process(place)
        if not slow and len(self.by_place) > self._settings.processes:
            self._retire()

    def take_reports(self) -> None:
        """Hear what the fork server has to say."""
        if self._server is None:
            return
        try:
            for report in self._server.reports():
                self._take_report(report)
        except EOFError:
            self._lose_server()

    def are_sound(self) -> None:
        """One is ready, so they can be started."""
        self._failures = 0

    def bury(self, process: ProcessHandle) -> None:
        """A process is gone for good: nothing writes to its slots any more."""
        if self.by_place.pop(process.place, None) is None:
            return
        self.stop_listening(process)
        self._died(process)
        process.connection.close()
        if self._server is None:
            _reap(process.pid)

    def stop_listening(self, process: ProcessHandle) -> None:
        """Its socket has nothing more to say."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(process.connection)

    def broken(self, process: ProcessHandle, reason: str) -> None:
        """A process has to end; it is buried once the fork server has seen it go."""
        process.kill(reason)
        if self._server is None:
            self.bury(process)

    def tick(self, elapsed_s: float) -> None:
        """End a fork server that tells nothing; it may have been stopped."""
        for process in self.by_place.values():
            is_owed = process.is_broken or not process.pid
            process.waited_s = process.waited_s + elapsed_s if is_owed else 0.0
            if process.waited_s >= _SERVER_S and self._server:
                logger.error("The fork server does not answer; starting another")
                self._server.process.kill()
                return

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
        self._selector.register(self._server.socket, selectors.EVENT_READ, self.take_reports)

    def _start_process(self, place: int) -> None:
        assert self._server is not None
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._failed(f"A preparation process can't be started: {error}")
            return
        theirs.setblocking(True)  # noqa: FBT003  # whatever the program's default time-out is
        process = ProcessHandle(place, ours)
        self.by_place[place] = process
        self._images.decoding[place] = 0
        self._selector.register(ours, selectors.EVENT_READ, process)
        with theirs:
            try:
                self._server.start_process(place, theirs)
            except OSError:  # it is gone, which its own socket is about to say
                self.bury(process)
                self._next_try_s = time.monotonic() + _FIRST_PAUSE_S

    def _take_report(self, report: Report) -> None:
        process = self.by_place.get(report.place)
        if report.kind == READY:
            self._is_ready = True
        elif process is None:
            return
        elif report.kind == STARTED:
            process.pid = report.value
            if process.is_broken:
                process.kill("")
        elif report.kind == FAILED:
            self.bury(process)
            reason = os.strerror(report.value)
            self._failed(f"A preparation process can't be started: {reason}")
        elif report.kind == EXITED:
            self._take_exit(process, report.value)

    def _take_exit(self, process: ProcessHandle, status: int) -> None:
        is_unable = not process.reason and not process.is_sound
        process.is_broken = True
        process.reason = process.reason or f"it {_how_it_ended(status)}"
        self.restarts += process.reason != _SURPLUS
        self.bury(process)
        if is_unable:
            self._failed(f"A preparation process {_how_it_ended(status)} before it was ready")

    def _failed(self, reason: str) -> None:
        pause_s = min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
        self._failures += 1
        self._next_try_s = time.monotonic() + pause_s
        logger.error("%s; trying again in %.1f s", reason, pause_s)
        if self._failures >= _PATIENCE and not self.live:
            self._unavailable(reason)

    def _lose_server(self) -> None:
        """All its processes end with it; on Linux the kernel has killed them already."""
        assert self._server is not None
        was_ready, self._is_ready = self._is_ready, False
        self._selector.unregister(self._server.socket)
        self._server.close()
        status = self._server.process.returncode
        self._server = None
        for process in list(self.by_place.values()):
            process.kill("its fork server ended")
            self.bury(process)
        if was_ready:
            logger.error("The fork server %s; starting another", _how_it_ended(status))
        else:
            self._failed(f"The fork server {_how_it_ended(status)} before it was ready")

    def _retire(self) -> None:
        for process in self.live:
            if not process.in_hand:
                process.kill(_SURPLUS)
                return


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
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:  # as a rule: the system's first process does it
            return
