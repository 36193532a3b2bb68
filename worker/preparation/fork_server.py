"""The small process that preparation processes are forked from.

It is started by exec before anything else, so it has no CUDA, no Redis connection and no thread,
and it has imported all that decoding needs: a new preparation process is there in milliseconds. It
starts a process for each socket that it is sent, reaps those that end, and tells the pool of both.
`multiprocessing`'s own fork server takes 33 ms a process, imports the worker's main module in each,
is shared by the whole program, and does not end what it has started when it is killed.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import select
import signal
import socket
import struct
import sys
import traceback
from typing import NoReturn

import torch
from PIL import Image

from clip_engine.errors import ImageError
from clip_engine.preprocess import Preprocessor
from worker.preparation.limits import end_with_parent, restrict_fork_server
from worker.preparation.process import PreparationProcess
from worker.preparation.settings import PreparationSettings
from worker.preparation.shared_images import SharedImages
from worker.sources.fetcher import Fetcher

REQUEST = struct.Struct("<i")  # the place that a process shall take; a socket comes with it
REPORT = struct.Struct("<iii")  # place, process id, and exit status
RUNS = -1000  # no exit status: the process has been started


class ForkServer:
    """Forks preparation processes.

    Args:
        control: The socket that requests come from.
        settings: For the processes.
        images: Where they put pixels.
    """

    def __init__(
        self, control: socket.socket, settings: PreparationSettings, images: SharedImages
    ) -> None:
        self._control = control
        self._settings = settings
        self._images = images
        self._places: dict[int, int] = {}  # by process id
        # Made once: certificates take 20 ms to read.
        self._fetcher = Fetcher(settings.policy, settings.limits)
        self._preprocessor = Preprocessor(
            settings.transform, settings.mode, settings.max_pixels, settings.formats
        )

    def run(self) -> NoReturn:
        """Serve until the pool is gone; then all processes are ended."""
        wakeup, wakeup_end = os.pipe()
        for descriptor in (wakeup, wakeup_end):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        self._warm_up()
        gc.freeze()  # so that a collection in a process does not copy what all share
        while True:
            readable, _, _ = select.select([self._control.fileno(), wakeup], [], [])
            if wakeup in readable:
                os.read(wakeup, 4096)
                self._reap()
            if self._control.fileno() in readable and not self._serve():
                break
        for pid in self._places:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os._exit(0)  # Python's own end takes a second with torch

    def _warm_up(self) -> None:
        """Load what is loaded with the first image, so that no process has to: 80 ms."""
        Image.init()
        for kind in ("JPEG", "PNG"):
            file = io.BytesIO()
            Image.new("RGB", (64, 48)).save(file, kind)
            with contextlib.suppress(ImageError):  # of a format that is not accepted
                self._preprocessor.from_bytes(file.getvalue())

    def _serve(self) -> bool:
        """Start one process; False if the pool is gone."""
        data, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
        if not data:
            return False
        (place,) = REQUEST.unpack(data)
        connection = socket.socket(fileno=descriptors[0])
        connection.setblocking(True)  # noqa: FBT003  # the socket's own signature
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"No preparation process can be forked: {error}", file=sys.stderr, flush=True)  # noqa: T201
            self._report(place, 0, 1)
            connection.close()
            return True
        if pid == 0:
            self._become_process(server, place, connection)
        connection.close()
        self._places[pid] = place
        self._report(place, pid, RUNS)
        return True

    def _become_process(self, server: int, place: int, connection: socket.socket) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            end_with_parent(server)
            self._control.close()
            PreparationProcess(
                place=place,
                connection=connection,
                settings=self._settings,
                images=self._images,
                fetcher=self._fetcher,
                preprocessor=self._preprocessor,
            ).run()
        except ConnectionError:  # the pool is gone
            os._exit(0)
        except BaseException:  # noqa: BLE001  # nothing may return into the server's loop
            traceback.print_exc()
        finally:
            os._exit(1)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                place = self._places.pop(pid, None)
                if place is not None:
                    self._report(place, pid, os.waitstatus_to_exitcode(status))

    def _report(self, place: int, pid: int, status: int) -> None:
        with contextlib.suppress(OSError):  # the pool is gone; the next look at its socket tells
            self._control.sendall(REPORT.pack(place, pid, status))


def main(
    settings: PreparationSettings, parent: int, control_descriptor: int, images_descriptor: int
) -> None:
    """Run a fork server."""
    restrict_fork_server(parent)
    torch.set_num_threads(1)
    control = socket.socket(fileno=control_descriptor)
    control.setblocking(True)  # noqa: FBT003  # whatever the parent's default time-out is
    images = SharedImages(
        images_descriptor, settings.slots, settings.transform.resolution, settings.places
    )
    ForkServer(control, settings, images).run()
