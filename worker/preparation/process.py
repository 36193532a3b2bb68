"""A preparation process: takes pictures off a socket, and leaves their pixels in shared memory.

One thread reads the socket, a few fetch, and the main thread decodes. What is done is reported once
nothing waits, or a chunk at a time, so that a busy process and the pool exchange few messages.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
import traceback
from typing import NoReturn

from worker.preparation import messages
from worker.preparation.decode_stage import DecodeStage, NotNowError, Prepares
from worker.preparation.error_codec import PreparationError
from worker.preparation.fetch_stage import Fetches, FetchStage, FileMemory, Picture
from worker.preparation.limits import MemoryLimit, restrict_process
from worker.preparation.messages import Outcome, Work
from worker.preparation.settings import CHUNK, PreparationSettings
from worker.preparation.shared_images import SharedImages
from worker.sources.reservation import unlimited

_OTHER_FILES = 64  # open ones, besides two a fetch


class PreparationProcess:
    """What runs in a process; `run` does not return.

    Args:
        place: Its number.
        connection: To the pool.
        settings: What was decided for all processes.
        images: Where pixels go.
        fetcher: From URI to bytes.
        preprocessor: From bytes to pixels.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        place: int,
        connection: socket.socket,
        settings: PreparationSettings,
        images: SharedImages,
        fetcher: Fetches,
        preprocessor: Prepares,
    ) -> None:
        restrict_process(place, _OTHER_FILES + 2 * settings.threads_each)
        self._reports = Reports(connection)
        self._connection = connection
        self._is_large = False  # the picture that is decoded, or has just been
        self._memory = FileMemory(settings.file_bytes_each)
        self._decodable: queue.SimpleQueue[Picture] = queue.SimpleQueue()
        self._granted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._fetch = FetchStage(
            fetcher, self._memory, settings.threads_each, self._decodable.put, self._not_fetched
        )
        self._decode = DecodeStage(
            place=place,
            images=images,
            preprocessor=preprocessor,
            own_bytes=settings.decode_bytes_each,
            shared_bytes=settings.shared_decode_bytes,
            limit=MemoryLimit(settings.all_bytes_each, settings.shared_decode_bytes),
            flush=self._flush,
            ask=self._ask,
        )

    def run(self) -> NoReturn:
        """Work until the pool closes the socket."""
        threading.Thread(target=self._read, name="read", daemon=True).start()
        self._return([])  # so that the pool knows that it has come this far
        while True:
            picture = self._decodable.get()
            try:
                outcome = self._prepare(picture)
            except NotNowError:
                self._return([picture])
                continue
            self._memory.settle(picture, 0)
            self._reports.add(outcome, flush=self._is_large or self._decodable.empty())
            self._is_large = False

    def _prepare(self, picture: Picture) -> Outcome:
        # A data: URI is there already. To wait for room here would be to wait for oneself.
        error = self._fetch.fetch(picture, unlimited) if picture.data is None else None
        decode_s = 0.0
        if error is None:
            decode_s, error = self._decode.run(picture)
        return Outcome(picture.ticket, picture.fetch_s, decode_s, error)

    def _return(self, pictures: list[Picture]) -> None:
        for picture in pictures:
            self._memory.settle(picture, 0)
        tickets = [picture.ticket for picture in pictures]
        self._reports.send(messages.message(["returned", tickets]))

    def _not_fetched(self, picture: Picture, error: PreparationError) -> None:
        self._reports.add(Outcome(picture.ticket, picture.fetch_s, 0.0, error), flush=True)

    def _flush(self) -> None:
        self._is_large = True
        self._reports.flush()

    def _ask(self, ticket: int, beyond_bytes: int) -> bool:
        self._reports.send(messages.message(["want", ticket, beyond_bytes]))
        return self._granted.get()

    def _read(self) -> None:
        """On a thread of its own; the end of the socket is the end of the process."""
        try:
            while True:
                self._handle(messages.receive(self._connection))
        except (EOFError, ConnectionError):
            os._exit(0)
        except BaseException:  # noqa: BLE001  # without this thread the process is deaf
            traceback.print_exc()
            os._exit(1)

    def _handle(self, fields: list[object]) -> None:
        match fields:
            case ["work", list(rows)]:
                for row in rows:
                    self._take(Work(*row))
            case ["grant" | "refuse" as answer]:
                self._granted.put(answer == "grant")
            case ["give_back"]:
                self._give_back()

    def _take(self, work: Work) -> None:
        uri = messages.receive_bytes(self._connection, work.uri_bytes).decode(
            "utf-8", "surrogatepass"
        )
        data = None
        if work.data_bytes is not None:
            data = bytes(messages.receive_bytes(self._connection, work.data_bytes))
        ends_at_s = None if work.within_s is None else time.monotonic() + work.within_s
        picture = Picture(work.ticket, work.slot, uri, data, ends_at_s)
        if data is not None or uri[:5].lower() == "data:":
            self._decodable.put(picture)
        else:
            self._fetch.submit(picture)

    def _give_back(self) -> None:
        """Return what has not been begun, for the picture that is decoded takes long."""
        self._reports.flush()
        untouched = list(self._fetch.give_back())
        while True:
            try:
                untouched.append(self._decodable.get_nowait())
            except queue.Empty:
                break
        self._return(untouched)


class Reports:
    """Gathers outcomes and sends them. Threads may share it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = []

    def add(self, outcome: Outcome, *, flush: bool) -> None:
        """Take an outcome, and send all if that is asked for or a chunk is full."""
        with self._lock:
            self._outcomes.append(outcome)
            if flush or len(self._outcomes) >= CHUNK:
                self._flush()

    def flush(self) -> None:
        """Send what there is."""
        with self._lock:
            self._flush()

    def send(self, data: bytes) -> None:
        """Send something else."""
        with self._lock:
            self._connection.sendall(data)

    def _flush(self) -> None:
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            self._connection.sendall(messages.done_message(outcomes))
