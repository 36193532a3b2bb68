"""What goes wrong, one thing every few seconds, in an order that the seed decides."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from support.redis_server import RedisServer

from torture.monitor import Monitor
from torture.proxy import Proxy
from torture.supervisor import Life, Supervisor

KILL, TERM, STOP, RESTART, PARTITION = "kill -9", "SIGTERM", "SIGSTOP", "Redis restart", "partition"
KINDS = (KILL, TERM, STOP, RESTART, PARTITION)
TICK_S = 0.05
SETTLING_S = 1.0  # after a disturbance a worker is left alone for so long


@dataclass(frozen=True)
class Event:
    """What went wrong, when (`time.monotonic()`), to which process (0: the server), until when."""

    kind: str
    at_s: float
    pid: int
    until_s: float


class Chaos:
    """Does harm while it is entered, and undoes it at the end.

    Args:
        interval_s: Between two events.
        stop_s: Length of a SIGSTOP.
        partition_s: Length of a partition.
        publishing: Held while Redis restarts, so that the producer's own errors stay out of this.
    """

    def __init__(  # everything that may be harmed
        self,
        supervisor: Supervisor,
        proxies: Sequence[Proxy],
        server: RedisServer,
        monitor: Monitor,
        *,
        rng: random.Random,
        interval_s: float,
        stop_s: float,
        partition_s: float,
        publishing: threading.Lock,
    ) -> None:
        self.events: list[Event] = []
        self.redis_down_until_s = 0.0
        self._supervisor = supervisor
        self._proxies = proxies
        self._server = server
        self._monitor = monitor
        self._rng = rng
        self._interval_s = interval_s
        self._stop_s = stop_s
        self._partition_s = partition_s
        self._publishing = publishing
        self._mending: list[tuple[float, Callable[[], None]]] = []
        self.ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ending.set()
        self._thread.join()

    def _serve(self) -> None:
        kinds = self._kinds()
        kind = next(kinds)
        due = time.monotonic() + self._interval_s
        while not self.ending.is_set():
            # Where no worker is fit to be harmed, the event waits for the next that is.
            if time.monotonic() >= due and self._do(kind):
                kind, due = next(kinds), time.monotonic() + self._interval_s
            self._mend(time.monotonic())
            time.sleep(TICK_S)
        self._mend(float("inf"))

    def _kinds(self) -> Iterator[str]:
        """Every kind once, in random order, then again."""
        while True:
            yield from self._rng.sample(KINDS, len(KINDS))

    def _do(self, kind: str) -> bool:
        """Whether there was something to do it to."""
        if kind == RESTART:
            self._restart()
            return True
        life = self._victim()
        if life is None:
            return False
        {KILL: self._kill, TERM: self._term, STOP: self._stop, PARTITION: self._partition}[kind](
            life
        )
        return True

    def _victim(self) -> Life | None:
        """A worker that has taken tasks for a while and is not disturbed yet."""
        now = time.monotonic()
        fit = [
            life
            for life in self._supervisor.current
            if not life.cause and life.disturbed_until_s < now and _has_worked(life, now)
        ]
        return self._rng.choice(fit) if fit else None

    def _kill(self, life: Life) -> None:
        self._note(KILL, life)
        self._supervisor.end(life, signal.SIGKILL, "kill")

    def _term(self, life: Life) -> None:
        self._note(TERM, life)
        self._supervisor.end(life, signal.SIGTERM, "term")

    def _stop(self, life: Life) -> None:
        self._note(STOP, life, self._stop_s)
        life.send(signal.SIGSTOP)
        self._later(self._stop_s, lambda: life.send(signal.SIGCONT))

    def _partition(self, life: Life) -> None:
        self._note(PARTITION, life, self._partition_s)
        proxy = self._proxies[life.slot]
        proxy.cut()
        self._later(self._partition_s, proxy.heal)

    def _restart(self) -> None:
        """In order, with what is on disk; nobody gets in before the monitor listens again."""
        start = time.monotonic()
        with self._publishing:
            for proxy in self._proxies:
                proxy.refuse()
            self._monitor.subscribed.clear()
            self._server.restart()
            self._monitor.subscribed.wait(10)
            for proxy in self._proxies:
                proxy.admit()
        self.redis_down_until_s = time.monotonic()
        self.events.append(Event(RESTART, start, 0, self.redis_down_until_s))

    def _note(self, kind: str, life: Life, seconds: float = 0.0) -> None:
        now = time.monotonic()
        life.disturbed_until_s = now + seconds + SETTLING_S
        self.events.append(Event(kind, now, life.pid, now + seconds))

    def _later(self, seconds: float, mend: Callable[[], None]) -> None:
        self._mending.append((time.monotonic() + seconds, mend))

    def _mend(self, now: float) -> None:
        for due in [due for due in self._mending if due[0] <= now]:
            self._mending.remove(due)
            due[1]()


def _has_worked(life: Life, now: float) -> bool:
    """Whether a worker has taken tasks for half as long as its start took.

    On a busy machine starts are slow: workers that are killed right after theirs would do nothing.
    """
    ready_s = life.ready_s
    return ready_s is not None and now - ready_s >= (ready_s - life.started_s) / 2
