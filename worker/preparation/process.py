"""A preparation process: takes images off a socket, and leaves their pixels in shared memory.

One thread reads the socket, a few fetch, and the main thread decodes. Outcomes are sent once
nothing waits, or a chunk at a time, so that a busy process and the pool exchange few messages.
"""

from __future__ import annotations

import hashlib
import os
import queue
import socket
import threading
import traceback
from typing import Any, NoReturn

from clip_engine.preprocess import Preprocessor
from worker.preparation import messages
from worker.preparation.decode_stage import MEDIUM_BYTES, DecodeStage, NotNowError
from worker.preparation.error_codec import PreparationError
from worker.preparation.fetch_stage import FetchStage, FileMemory, ProcessImage
from worker.preparation.limits import MemoryLimit, restrict_process
from worker.preparation.messages import Outcome
from worker.preparation.settings import CHUNK, PreparationSettings
from worker.preparation.shared_images import SharedImages
from worker.sources.fetcher import Fetcher
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
        fetcher: Fetcher,
        preprocessor: Preprocessor,
    ) -> None:
        restrict_process(place, _OTHER_FILES + 2 * settings.threads_each)
        self._connection = connection
        self._sending = threading.Lock()
        self._outcomes: list[Outcome] = []  # not sent yet
        self._memory = FileMemory(settings.file_bytes_each, images.waiting[place : place + 1])
        self._decodable: queue.SimpleQueue[ProcessImage] = queue.SimpleQueue()
        self._asks = settings.asks
        self._asked: dict[int, ProcessImage] = {}  # by slot: their files wait for an answer
        self._granted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._fetch = FetchStage(
            fetcher, self._memory, settings.threads_each, self._fetched, self._not_fetched
        )
        self._decode = DecodeStage(
            place=place,
            images=images,
            preprocessor=preprocessor,
            own_bytes=settings.decode_bytes_each,
            shared_bytes=settings.shared_decode_bytes,
            limit=MemoryLimit(settings.all_bytes_each, settings.shared_decode_bytes),
            flush=self._send,
            ask=self._ask,
        )

    def run(self) -> NoReturn:
        """Work until the pool closes the socket."""
        threading.Thread(target=self._read, name="read", daemon=True).start()
        self._return([])  # so that the pool knows that it is ready
        while True:
            image = self._decodable.get()
            # A data: URI is there already. To wait for memory here would be to wait for oneself.
            error = self._fetch.fetch(image, unlimited) if image.data is None else None
            if image.asks and error is None:
                self._fetched(image)
                continue
            try:
                outcome = self._prepare(image, error)
            except NotNowError:
                self._return([image])
                continue
            self._memory.settle(image, 0)
            is_long = image.needed_bytes >= MEDIUM_BYTES
            self._report(outcome, at_once=is_long or self._decodable.empty())

    def _prepare(self, image: ProcessImage, error: PreparationError | None) -> Outcome:
        decode_s = 0.0
        if error is None:
            decode_s, error = self._decode.run(image)
        return Outcome(image.slot, image.fetch_s, decode_s, error)

    def _fetched(self, image: ProcessImage) -> None:
        """Decode an image when its turn comes, or ask whether to do so."""
        if not image.asks:
            self._decodable.put(image)
            return
        image.asks = False
        content = hashlib.sha256(image.data or b"").hexdigest()
        self._asked[image.slot] = image
        self._send(messages.fetched(image.slot, content, image.fetch_s))

    def _answered(self, slots: list[int], *, is_wanted: bool) -> None:
        for image in (self._asked.pop(slot) for slot in slots):
            if is_wanted:
                self._decodable.put(image)
            else:
                image.data = None
                self._memory.settle(image, 0)

    def _not_fetched(self, image: ProcessImage, error: PreparationError) -> None:
        self._report(Outcome(image.slot, image.fetch_s, 0.0, error), at_once=True)

    def _return(self, images: list[ProcessImage]) -> None:
        for image in images:
            self._memory.settle(image, 0)
        self._send(messages.returned([image.slot for image in images]))

    def _ask(self, slot: int, beyond_bytes: int) -> bool:
        self._send(messages.want(slot, beyond_bytes))
        return self._granted.get()

    def _report(self, outcome: Outcome, *, at_once: bool) -> None:
        with self._sending:
            self._outcomes.append(outcome)
            is_due = at_once or len(self._outcomes) >= CHUNK
        if is_due:
            self._send()

    def _send(self, message: bytes = b"") -> None:
        """Send the outcomes that there are, and then a message."""
        with self._sending:
            outcomes, self._outcomes = self._outcomes, []
            if outcomes:
                message = messages.done(outcomes) + message
            self._connection.sendall(message)

    def _read(self) -> None:
        """On a thread of its own; the end of the socket is the end of the process."""
        try:
            while True:
                self._handle(*messages.receive(self._connection))
        except (EOFError, ConnectionError):
            os._exit(0)
        except BaseException:  # noqa: BLE001  # without this thread the process gets no message
            traceback.print_exc()
            os._exit(1)

    def _handle(self, kind: str, rows: list[Any]) -> None:
        if kind == "prepare":
            for slot, uri, size in rows:
                data = None if size is None else messages.receive_bytes(self._connection, size)
                image = ProcessImage(slot, uri, data, asks=self._asks and data is None)
                if data is not None or uri[:5].lower() == "data:":
                    self._decodable.put(image)
                else:
                    self._fetch.submit(image)
        elif kind == "give_back":
            self._give_back()
        elif kind in ("decode", "drop"):
            self._answered(rows, is_wanted=kind == "decode")
        else:
            self._granted.put(kind == "grant")

    def _give_back(self) -> None:
        """Return what has not been begun, for the image that is decoded takes long."""
        untouched = self._fetch.give_back()
        while True:
            try:
                untouched.append(self._decodable.get_nowait())
            except queue.Empty:
                break
        self._return(untouched)
