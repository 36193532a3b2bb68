"""Keeps several workers running until a signal stops them (docs/reliability.md, "Stopping")."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker.cli.supervisor.events import STOP_SIGNALS
from worker.cli.supervisor.restarts import MOST_ATTEMPTS, Restarts, exit_status, reason
from worker.cli.supervisor.worker import Worker

Wait = Callable[[Sequence[int], float | None], tuple[list[int], list[int]]]


@dataclass
class Place:
    """One of the workers, whichever process it is at the moment.

    Attributes:
        number: From 1.
        worker: Its process, if it runs.
        started_at: When that was started.
        start_at: When to start the next one, if none runs; None for not yet.
        restarts: How often it has ended.
    """

    number: int
    worker: Worker | None = None
    started_at: float = 0.0
    start_at: float | None = None
    restarts: Restarts = field(default_factory=Restarts)


class Supervisor:
    """Starts workers, restarts one that ends, and ends with the last one.

    The first worker starts alone and the others once it is ready. So what is wrong for all of them
    is said once, and a model is downloaded once.

    Args:
        count: How many workers.
        start: Starts the one with this number, from 1.
        say: Prints a sentence.
        wait: See `worker.cli.supervisor.events.Events.wait`.
        clock: Monotonic seconds.
        has_terminal: Whether SIGHUP means that the terminal is gone. Else each worker runs its
            program anew, in its own process.
    """

    def __init__(  # noqa: PLR0913  # its collaborators, by name
        self,
        count: int,
        *,
        start: Callable[[int], Worker],
        say: Callable[[str], None],
        wait: Wait,
        clock: Callable[[], float],
        has_terminal: bool,
    ) -> None:
        self._places = [Place(number) for number in range(1, count + 1)]
        self._start_worker = start
        self._say = say
        self._wait = wait
        self._clock = clock
        self._stops_on = (*STOP_SIGNALS, signal.SIGHUP) if has_terminal else STOP_SIGNALS
        self._order: int | None = None  # the first signal that stops the workers
        self._any_was_ready = False
        self._status = 0

    def run(self) -> int:
        """Run until all workers have ended.

        Returns:
            The exit status: the highest of those that the workers ended with when they were
            stopped, or that of the worker that can't be started.
        """
        self._places[0].start_at = self._clock()
        while self._order is None or self._running():
            self._start_due()
            workers = self._running()
            watched = [each for worker in workers for each in worker.descriptors]
            signals, readable = self._wait(watched, self._pause_s())
            for number in signals:
                self._pass_on(number)
            for worker in workers:
                if set(worker.descriptors) & set(readable):
                    self._read(worker)
            self._look_for_ends()
        return self._status

    def _running(self) -> list[Worker]:
        return [place.worker for place in self._places if place.worker]

    def _pause_s(self) -> float | None:
        """Seconds until the next worker is to be started."""
        due = [place.start_at for place in self._places if place.start_at is not None]
        return max(0.0, min(due) - self._clock()) if due else None

    def _start_due(self) -> None:
        now = self._clock()
        for place in self._places:
            if place.start_at is not None and place.start_at <= now:
                place.worker = self._start_worker(place.number)
                place.started_at, place.start_at = now, None

    def _read(self, worker: Worker) -> None:
        """Learn whether a worker is ready; the first that is has all others started."""
        worker.read()
        if self._any_was_ready or not worker.is_ready:
            return
        self._any_was_ready = True
        for place in self._places:
            if self._order is None and place.worker is None:
                place.start_at = self._clock()

    def _pass_on(self, number: int) -> None:
        """Pass a signal on; a second one that stops the workers as one that hurries them."""
        stops, is_stopping = number in self._stops_on, self._order is not None
        if number == signal.SIGHUP and is_stopping:
            return
        if stops:
            self._stop(number)
        for worker in self._running():
            worker.send_signal(signal.SIGQUIT if is_stopping else number)

    def _stop(self, number: int) -> None:
        """Start no more workers."""
        self._order = self._order or number
        for place in self._places:
            place.start_at = None

    def _look_for_ends(self) -> None:
        for place in self._places:
            code = place.worker.returncode() if place.worker else None
            if place.worker and code is not None:
                worker, place.worker = place.worker, None
                self._read(worker)  # it may have been ready for a moment
                worker.close()
                self._ended(place, worker, code)

    def _ended(self, place: Place, worker: Worker, code: int) -> None:
        if self._order is not None:
            if code != -signal.SIGTERM:  # which it obeyed while it was still starting
                self._status = max(self._status, exit_status(code))
            return
        restarts = place.restarts
        restarts.count(ready=worker.is_ready, ran_s=self._clock() - place.started_at)
        what = f"Worker {place.number} (process {worker.pid}) {reason(code)}"
        if restarts.are_given_up(
            code,
            any_was_ready=self._any_was_ready,
            others_may_serve=any(
                each.restarts.attempts < MOST_ATTEMPTS for each in self._places if each is not place
            ),
        ):
            self._give_up(what, code)
            return
        pause_s = restarts.pause_s
        self._say(f"{what}; it is started again {f'in {pause_s:g} s' if pause_s else 'now'}.")
        place.start_at = self._clock() + pause_s

    def _give_up(self, what: str, code: int) -> None:
        others = self._running()
        end = "all other workers are stopped" if others else "it is not started again"
        self._say(f"{what} before it was ready; {end}.")
        self._stop(signal.SIGTERM)
        self._status = exit_status(code) or 1
        for worker in others:
            worker.send_signal(signal.SIGTERM)
