"""Prepares pictures in processes of their own: fetch, check, decode, resize.

pool = PreparationPool(PreparationSettings(resolution=224, processes=2, slots=512), on_prepared)
pool.start()
pool.submit([ImageRequest(key=1, uri="https://example.com/cat.jpg")])
# on_prepared([PreparedImage(key=1, slot=0, …)]), then pool.images[0], then pool.release([0])
A decoder that crashes or does not end costs the picture that it was given, and no other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from worker.preparation import messages
from worker.preparation.decode_watch import TICK_S, DecodeWatch, Verdict
from worker.preparation.handle import Picture, ProcessHandle
from worker.preparation.memory_grants import MemoryGrants
from worker.preparation.messages import Done, ProtocolError, Reply, Returned, Want
from worker.preparation.processes import Processes
from worker.preparation.records import ImageRequest, PreparedImage
from worker.preparation.registry import Registry, crashed, too_expensive
from worker.preparation.settings import PreparationSettings
from worker.preparation.shared_images import SharedImages
from worker.quoting import shown_uri

logger = logging.getLogger(__name__)

_END_S = 5.0  # that a killed process may take to end
_MOST_DEATHS = 3  # of processes, after which a picture that was in hand each time runs alone

OnPrepared = Callable[[Sequence[PreparedImage]], None]


class PreparationPool:
    """Threads may share it.

    Args:
        settings: How pictures are prepared.
        on_prepared: Called on the pool's thread with all outcomes that arrived together.

    Attributes:
        images: uint8 `[slots, 3, R, R]`, RGB, over the shared memory.
        capacity: How many slots there are.
    """

    def __init__(self, settings: PreparationSettings, on_prepared: OnPrepared) -> None:
        self._settings = settings
        self._on_prepared = on_prepared
        self._shared = SharedImages.create(settings.slots, settings.resolution, settings.places)
        self.images: Tensor = torch.from_numpy(self._shared.pixels)
        self.capacity = settings.slots
        self._grants = MemoryGrants(settings.shared_decode_bytes, settings.processes)
        self._registry = Registry(settings, self._grants)
        self._backlog = self._registry.backlog
        self._inbox: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._processes = Processes(
            settings, self._shared, self._selector, self._bury, self._registry.fail_waiting
        )
        self._watches: dict[ProcessHandle, DecodeWatch] = {}
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
        """Slots that no picture has."""
        return len(self._backlog.free_slots)

    def start(self) -> None:
        """Start the fork server and the processes; does not wait for them."""
        self._thread.start()
        self._wake()

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Wait for the first process; False if there is none yet."""
        return self._ready.wait(timeout_s)

    def submit(self, requests: Sequence[ImageRequest]) -> None:
        """Have pictures prepared, in order. After `stop` they fail at once."""
        self._call(lambda: self._registry.take(requests))
        if self._is_stopped:
            self._fail_all()

    def cancel(self, keys: Iterable[int]) -> None:
        """Forget pictures; `on_prepared` is not told of them, unless it has been already."""
        self._call(lambda: self._registry.cancel(keys))

    def release(self, slots: Sequence[int]) -> None:
        """Give slots back whose pixels have been copied.

        Raises:
            ValueError: A slot was not handed out, or was given back before.
        """
        self._registry.release(slots)
        if any(self._backlog.lines):
            self._wake()

    def stop(self, timeout_s: float) -> None:
        """End the processes. Pictures that are left fail with `STOPPING`.

        Args:
            timeout_s: How long the fork server may take to end before it is killed.
        """
        self._call(lambda: setattr(self, "_stop_within_s", timeout_s))
        if self._thread.is_alive():
            self._thread.join()

    def stats(self) -> dict[str, object]:
        """What can be seen of it, for `inspect stats`."""
        processes = list(self._processes.by_place.values())
        return {
            "fork_server": self._processes.server_pid,
            "processes": [each.stats(self._shared.ticket(each.place)) for each in processes],
            "restarts": self._processes.restarts,
            "waiting": sum(map(len, self._backlog.lines)),
            "free_slots": self.free_slots,
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
        self._processes.stop(self._stop_within_s)
        self._shared.close()

    def _fail_all(self) -> None:
        """End what has come since the pool stopped; on the thread of whoever brought it."""
        with self._failing:
            while self._inbox:
                self._inbox.popleft()()
            self._registry.fail_all()
            self._tell()

    def _turn(self) -> None:
        for key, events in self._selector.select(self._timeout_s()):
            if isinstance(key.data, ProcessHandle):
                self._serve(key.data, events)
            else:
                key.data()
        while self._inbox:
            self._inbox.popleft()()
        now_s = time.monotonic()
        if now_s >= self._ticked_s + TICK_S:
            self._tick(now_s - self._ticked_s)
            self._ticked_s = now_s
        self._processes.see_to(is_work_waiting=any(self._backlog.lines))
        live = self._processes.live
        if live:
            self._ready.set()
        self._backlog.dispatch(live)
        for process in live:
            self._listen_to(process)
        self._tell()

    def _timeout_s(self) -> float | None:
        pause_s = self._processes.pause_s()
        if not self._registry.is_busy:
            return pause_s
        return TICK_S if pause_s is None else min(TICK_S, pause_s)

    def _listen_to(self, process: ProcessHandle) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if process.has_to_send else 0)
        if self._selector.get_key(process.connection).events != events:
            self._selector.modify(process.connection, events, process)

    def _serve(self, process: ProcessHandle, events: int) -> None:
        is_there = self._processes.has(process)  # or its end was reported a moment before
        if is_there and events & selectors.EVENT_WRITE:
            process.flush()
        if is_there and events & selectors.EVENT_READ:
            self._hear(process)

    def _hear(self, process: ProcessHandle) -> None:
        try:
            for reply in process.replies():
                self._handle(process, reply)
        except EOFError:
            self._processes.stop_listening(process)
            self._processes.broken(process, "")
        except ProtocolError as error:
            self._processes.broken(process, f"it sent {error}")

    def _handle(self, process: ProcessHandle, reply: Reply) -> None:
        process.is_sound = True
        self._processes.are_sound()
        if isinstance(reply, Want):
            is_granted = self._backlog.grant(process, reply)
            process.send(messages.message(messages.GRANT if is_granted else messages.REFUSE))
            return
        tickets = (
            reply.tickets if isinstance(reply, Returned) else [o.ticket for o in reply.outcomes]
        )
        pictures = [self._backlog.take_from(process, ticket) for ticket in tickets]
        known = [picture for picture in pictures if picture is not None]
        if isinstance(reply, Returned):
            self._backlog.put_back(known)
        else:
            self._handle_done(process, reply, pictures)
        if len(known) < len(tickets):
            raise ProtocolError("a ticket that it does not have")

    def _handle_done(
        self, process: ProcessHandle, done: Done, pictures: Sequence[Picture | None]
    ) -> None:
        process.pictures += len(pictures)
        process.is_slow = False
        for outcome, picture in zip(done.outcomes, pictures, strict=True):
            if picture is not None:
                self._registry.end(picture, outcome.error, outcome.fetch_s, outcome.decode_s)

    def _tell(self) -> None:
        if ended := self._registry.take_ended():
            try:
                self._on_prepared(ended)
            except Exception:
                logger.exception("Nobody took %d prepared pictures", len(ended))

    def _tick(self, elapsed_s: float) -> None:
        elapsed_s = min(elapsed_s, 2 * TICK_S)  # the machine, or this process, may have slept
        self._processes.tick(elapsed_s)
        for process in self._processes.live:
            if not process.in_hand:
                process.is_slow = False
                continue
            watch = self._watches.setdefault(process, DecodeWatch(self._settings))
            ticket = self._shared.ticket(process.place)
            verdict = watch.look(process, ticket, elapsed_s)
            process.is_slow = verdict is Verdict.SLOW
            if verdict is Verdict.SLOW and len(process.in_hand) > 1:
                process.send(messages.message(messages.GIVE_BACK))
            elif verdict not in (Verdict.FINE, Verdict.SLOW):
                self._give_up(process, ticket, verdict)

    def _give_up(self, process: ProcessHandle, ticket: int, verdict: Verdict) -> None:
        process.overran = ticket if verdict is Verdict.TOO_EXPENSIVE else 0
        if verdict is Verdict.STOPPED:
            self._shared.decoding[process.place] = 0
        self._processes.broken(process, verdict.value)

    def _bury(self, process: ProcessHandle) -> None:
        """What a process had in hand when it ended is sent to others, or has ended with it."""
        with contextlib.suppress(ProtocolError):
            for reply in process.last_replies(_END_S):
                self._handle(process, reply)
        self._watches.pop(process, None)
        ticket = process.overran or self._shared.ticket(process.place)
        culprit = process.in_hand.get(ticket)
        pictures = self._backlog.take_all_from(process)
        if pictures:
            logger.warning(
                "Preparation process %d has ended (%s) with %d pictures in hand%s",
                process.pid,
                process.reason,
                len(pictures),
                f"; it was decoding {shown_uri(culprit.request.uri)}" if culprit else "",
            )
        if culprit is None and len(pictures) == 1 and pictures[0].is_suspect:
            culprit = pictures[0]
        for picture in pictures:
            picture.deaths += 1
            if picture is culprit and process.overran:
                self._registry.end(picture, too_expensive(self._settings.decode_cpu_s))
            elif picture is culprit and picture.is_suspect:
                self._registry.end(picture, crashed(process.reason))
            picture.is_suspect |= picture is culprit or picture.deaths >= _MOST_DEATHS
        self._backlog.put_back([each for each in pictures if each.slot >= 0])
