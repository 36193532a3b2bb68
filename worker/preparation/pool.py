"""Prepares images in processes of their own: fetch, check, decode, resize.

settings = PreparationSettings(ImageTransform(224), processes=2, slots=512)
pool = PreparationPool(settings, on_prepared)
pool.start()
pool.submit([ImageRequest(key=1, uri="https://example.com/cat.jpg")])
# on_prepared([PreparedImage(key=1, slot=0, …)]), then pool.images[0], then pool.release([0])
A decoder that crashes or does not end fails the image that it was given, and no other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clip_worker.errors import TemporaryError
from clip_worker.quoting import shown_uri
from worker.preparation import messages
from worker.preparation.decode_watch import TICK_S, Verdict
from worker.preparation.handle import ProcessHandle, QueuedImage
from worker.preparation.image_queue import ImageQueue
from worker.preparation.messages import Done, Fetched, ProtocolError, Reply, Returned
from worker.preparation.records import FetchedImage, ImageRequest, PreparedImage
from worker.preparation.settings import PreparationSettings
from worker.preparation.shared_images import NONE, SharedImages
from worker.preparation.supervisor import Supervisor

logger = logging.getLogger(__name__)

_END_S = 5.0  # that a killed process may take to end

OnPrepared = Callable[[Sequence[PreparedImage]], None]


class PreparationPool:
    """Threads may share it.

    Args:
        settings: How images are prepared.
        on_prepared: Called on the pool's thread with all outcomes that arrived together.
        on_fetched: Called on the pool's thread with the images that wait for `answer`.

    Attributes:
        images: uint8 `[slots, 3, R, R]`, RGB, over the shared memory.
        capacity: How many slots there are.
    """

    def __init__(
        self,
        settings: PreparationSettings,
        on_prepared: OnPrepared,
        on_fetched: Callable[[Sequence[FetchedImage]], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._on_prepared = on_prepared
        self._on_fetched = on_fetched
        self._shared = SharedImages.create(
            settings.slots, settings.transform.resolution, settings.places
        )
        self.images: Tensor = torch.from_numpy(self._shared.pixels)
        self.capacity = settings.slots
        self._inbox: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._supervisor = Supervisor(
            settings, self._shared, self._selector, self._process_ended, self._unavailable
        )
        self._queue = ImageQueue(settings, self._supervisor.by_place.values)
        self._wakeup, self._wakeup_end = os.pipe()
        os.set_blocking(self._wakeup_end, False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._wake_up)
        self._ticked_s = 0.0
        self._ready = threading.Event()
        self._stop_within_s: float | None = None
        self._is_stopped = False
        self._failing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="preparation", daemon=True)

    @property
    def free_slots(self) -> int:
        """Slots that no image has."""
        return len(self._queue.free_slots)

    @property
    def is_full(self) -> bool:
        """Whether no further image could be fetched now: in each process some wait for memory."""
        live = self._supervisor.live
        return bool(live) and all(self._shared.waiting[each.place] for each in live)

    @property
    def process_count(self) -> int:
        """Processes that may be given images."""
        return len(self._supervisor.live)

    @property
    def restarts(self) -> int:
        """Processes that ended and were replaced."""
        return self._supervisor.restarts

    def start(self) -> None:
        """Start the fork server and the processes; does not wait for them."""
        self._thread.start()
        self._wake()

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Wait for the first process; False if there is none yet."""
        return self._ready.wait(timeout_s)

    def submit(self, requests: Sequence[ImageRequest]) -> None:
        """Have images prepared, in order. After `stop` they fail at once."""
        self._call(lambda: self._queue.add(requests))
        if self._is_stopped:
            self._fail_all()

    def answer(self, keys: Sequence[int], *, is_wanted: bool) -> None:
        """Have images decoded that were fetched, or end them without pixels."""
        self._call(lambda: self._queue.answer(keys, is_wanted=is_wanted))

    def release(self, slots: Sequence[int]) -> None:
        """Free slots whose pixels have been copied.

        Raises:
            ValueError: A slot was not handed out, or was freed before.
        """
        self._queue.release(slots)
        if self._queue.waiting:
            self._wake()

    def stop(self, timeout_s: float) -> None:
        """End the processes. Images that are left fail with `STOPPING`.

        Args:
            timeout_s: How long the fork server may take to end before it is killed.
        """
        self._call(lambda: setattr(self, "_stop_within_s", timeout_s))
        if self._thread.is_alive():
            self._thread.join()

    def stats(self) -> dict[str, object]:
        """What `inspect stats` shows."""
        processes = list(self._supervisor.by_place.values())
        return {
            "fork_server": self._supervisor.server_pid,
            "processes": [each.stats(self._shared.slot(each.place)) for each in processes],
            "restarts": self._supervisor.restarts,
            "waiting": self._queue.waiting,
            "free_slots": self.free_slots,
            "memory_is_full": self.is_full,
        }

    def _call(self, function: Callable[[], None]) -> None:
        self._inbox.append(function)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is about to wake up
            os.write(self._wakeup_end, b"!")

    def _wake_up(self) -> None:
        os.read(self._wakeup, 4096)

    def _run(self) -> None:
        while self._stop_within_s is None:
            try:
                self._turn()
            except Exception:
                logger.exception("The preparation pool failed; going on")
                self._wake()  # what this turn left undone waits for no event
                time.sleep(TICK_S)
        self._is_stopped = True
        self._fail_all()
        self._supervisor.stop(self._stop_within_s)
        self._shared.close()

    def _fail_all(self) -> None:
        """End what has come since the pool stopped; on the thread of whoever submitted it."""
        with self._failing:
            while self._inbox:
                self._inbox.popleft()()
            self._queue.fail_all(_stopping)
            self._report()

    def _turn(self) -> None:
        for key, events in self._selector.select(self._timeout_s()):
            if isinstance(key.data, ProcessHandle):
                self._serve(key.data, events)
            else:
                key.data()
        while self._inbox:
            self._inbox.popleft()()
        now_s = time.monotonic()
        if now_s >= self._ticked_s + TICK_S:  # in small steps: the machine may have slept
            self._tick(min(now_s - self._ticked_s, 2 * TICK_S))
            self._ticked_s = now_s
        self._supervisor.adjust(is_work_waiting=bool(self._queue.waiting))
        self._queue.dispatch()
        for process in self._supervisor.live:
            self._ready.set()
            self._listen_to(process)
        self._report()

    def _timeout_s(self) -> float | None:
        pause_s = self._supervisor.pause_s()
        if not self._queue.is_busy:
            return pause_s
        return TICK_S if pause_s is None else min(TICK_S, pause_s)

    def _listen_to(self, process: ProcessHandle) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if process.has_to_send else 0)
        if self._selector.get_key(process.connection).events != events:
            self._selector.modify(process.connection, events, process)

    def _serve(self, process: ProcessHandle, events: int) -> None:
        if self._supervisor.by_place.get(process.place) is not process:
            return  # its end was reported a moment before
        if events & selectors.EVENT_WRITE:
            process.flush()
        try:
            for reply in process.replies():
                self._handle(process, reply)
        except EOFError:
            self._supervisor.stop_listening(process)
            process.kill("")
        except ProtocolError as error:
            process.kill(f"it sent {error}")

    def _handle(self, process: ProcessHandle, reply: Reply) -> None:
        self._supervisor.process_works(process)
        if isinstance(reply, Done):
            process.prepared += len(reply.outcomes)
            process.is_slow = False
            for outcome in reply.outcomes:
                self._queue.done(process, outcome)
        elif isinstance(reply, Fetched):
            self._queue.fetched(process, reply)
        elif isinstance(reply, Returned):
            for slot in reversed(reply.slots):
                self._queue.put_back([process.take(slot)])
        else:
            is_granted = self._queue.grant(process, reply)
            process.send(messages.GRANT if is_granted else messages.REFUSE)

    def _report(self) -> None:
        if fetched := self._queue.take_fetched():
            self._on_fetched(fetched)
        if ended := self._queue.take_ended():
            try:
                self._on_prepared(ended)
            except Exception:
                logger.exception("%d prepared images could not be handed on", len(ended))

    def _tick(self, elapsed_s: float) -> None:
        self._supervisor.tick(elapsed_s)
        for process in self._supervisor.live:
            process.is_slow &= bool(process.images)
            if not process.images:
                continue
            slot = self._shared.slot(process.place)
            verdict = process.watch.look(process.pid, slot, process.prepared, elapsed_s)
            process.is_slow = verdict is Verdict.SLOW
            if verdict is Verdict.SLOW and len(process.images) > 1:
                process.send(messages.GIVE_BACK)
            elif verdict not in (Verdict.FINE, Verdict.SLOW):
                process.overran = slot if verdict is Verdict.TOO_EXPENSIVE else NONE
                if verdict is Verdict.STOPPED:
                    self._shared.decoding[process.place] = NONE
                process.kill(verdict.value)

    def _unavailable(self, reason: str) -> None:
        self._queue.fail_waiting(
            lambda _: TemporaryError(
                f"The worker can't prepare images at the moment ({reason}); send it again.",
                "PREPARATION_UNAVAILABLE",
            )
        )

    def _process_ended(self, process: ProcessHandle) -> None:
        """Take what it sent before it ended; the rest of its images are sent to others."""
        with contextlib.suppress(ProtocolError):
            for reply in process.last_replies(_END_S):
                self._handle(process, reply)
        self._queue.process_ended(process, self._shared.slot(process.place))


def _stopping(image: QueuedImage) -> TemporaryError:
    return TemporaryError(
        f"{shown_uri(image.request.uri)}: the worker is stopping; send it again.", "STOPPING"
    )
