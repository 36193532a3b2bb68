"""How one picture comes by its labels' features and its bytes, in as many attempts as that takes.

An errand waits where it occupies no thread: with its host, for a place or the end of a rest
(`worker.pipeline.host_limiter`), with the budget, for memory (`worker.pipeline.memory_budget`), and
on the timer, for its next attempt (`worker.pipeline.retry`). While it waits with its host or on the
timer it reserves no memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from worker.errors import ExpiredError, TemporaryError
from worker.pipeline.host_limiter import host_of
from worker.pipeline.job import Job
from worker.pipeline.line import Line
from worker.pipeline.retry import so_far, with_reason
from worker.quoting import shown_uri
from worker.sources.reservation import FIRST_BYTES, Holder, NoRoomError, Reservation

if TYPE_CHECKING:
    from torch import Tensor


class Errand(ABC):
    """One job's labels and bytes; the visitor that `worker.pipeline.host_limiter` knows.

    A base class rather than a part, for a part that calls back would tie each picture into a knot
    of references that only the garbage collector undoes.

    Args:
        line: What the job goes along.
        job: What is asked.

    Attributes:
        labels: The job's, or those of its label set.
        label_features: float32 [L, D].
        data: The picture's bytes.
        labels_s: Seconds that the labels took.
        fetch_s: Seconds from the first attempt to the bytes, pauses included.
        room: The memory that it has reserved.
        held_up: Whether there was more than one attempt, or a rest to wait for.
    """

    labels: tuple[str, ...]
    label_features: Tensor
    data: bytes

    def __init__(self, line: Line, job: Job) -> None:
        self.job = job
        self.line = line
        self._host = host_of(job.image)
        self._tried = 0
        self._since_s: float | None = None  # when the first attempt began, or the first rest
        self._features_are_there = False
        self._needs_bytes = FIRST_BYTES
        self.room = Holder()
        self._is_gone = False  # whether the host has let it go
        self._waits_since_s: float | None = None  # with the budget
        self._waited_s = 0.0
        self.labels_s = self.fetch_s = 0.0
        self.held_up = False

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether nobody needs the bytes any more."""

    @abstractmethod
    def fetched(self) -> None:
        """All is there; called on the fetch thread."""

    @abstractmethod
    def wait_for_room(self) -> None:
        """See to it that `queue_for_room` is called once it may be; called on the fetch thread."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """It won't be there."""

    def start(self) -> None:
        """Set out for an attempt."""
        self._is_gone = False
        if self._host is None:
            self.go()
            return
        self.line.hosts.enter(self._host, self)
        if not self._is_gone:  # its host lets it wait; meanwhile others may use the memory
            self.room.release()

    def queue_for_room(self) -> None:
        """Wait for as much memory as the picture needs."""
        self._waits_since_s = self.line.clock()
        self.line.budget.wait(self._needs_bytes, self)

    def admit(self, reservation: Reservation) -> None:
        """Set out, with the memory that was waited for."""
        if self._waits_since_s is not None:
            self._waited_s += self.line.clock() - self._waits_since_s
            self._waits_since_s = None
        self.keep(reservation)
        if not self.ended:
            self.start()

    def keep(self, reservation: Reservation) -> None:
        """Take charge of a reservation, unless nobody needs it any more."""
        self.room.put(reservation)
        if self.ended:
            self.room.release()

    def go(self) -> bool:
        """Begin the attempt on a fetch thread; False if there is none to begin."""
        if self.ended:
            return False
        self._is_gone = True
        try:
            self.line.fetch_pool.submit(self._attempt)
        except RuntimeError as error:  # the pool has been shut down
            self.fail(error)
            return False
        return True

    def patience_ends_s(self) -> float:
        """When the bound on all attempts ends, or the job's deadline; the bound begins here."""
        now_s = self.line.clock()
        self.held_up = True
        self._since_s = now_s if self._since_s is None else self._since_s
        ends_s = self._since_s + self._waited_s + self.line.retry.total_s
        if self.job.deadline is None:
            return ends_s
        return min(ends_s, now_s + self.job.deadline - self.line.now())

    def turn_away(self, error: TemporaryError) -> None:
        """Fail, for the host rests for too long."""
        self.fail(
            TemporaryError(
                f"{shown_uri(self.job.image)}: its host keeps failing ({error.code}) and is given "
                f"a rest, longer than this task can wait; {so_far(self._tried, self._trying_s())}.",
                error.code,
            )
        )

    def _attempt(self) -> None:
        """On a fetch thread: labels, unless they are there, and the bytes."""
        reservation = self.room.take()
        if self.ended:
            self._leave_host(reservation)
            return
        self._begin()
        try:
            self._look_up_labels()
        except BaseException as error:  # noqa: BLE001  # somebody waits to hear of it
            self._leave_host(reservation)
            self._failed(error)
            return
        reservation = reservation or self.line.budget.reserve(self._needs_bytes)
        if reservation is None:
            self._leave_host(None)
            self._make_room(self._needs_bytes)
        else:
            self._ask_host(reservation)

    def _leave_host(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            reservation.release()
        self._report(self.line.hosts.left)

    def _begin(self) -> None:
        self._tried += 1
        if self._since_s is None:
            self._since_s = self.line.clock()

    def _look_up_labels(self) -> None:
        """Labels first: one that is too long should not cost a fetch."""
        self._check_deadline()
        if self._features_are_there:
            return
        start = self.line.clock()
        self.labels = self.job.labels
        if not self.labels and self.line.label_sets is not None:
            self.labels = self.line.label_sets.get(str(self.job.label_set))
        self.label_features = self.line.engine.labels.get(self.labels, self.job.templates)
        self._features_are_there = True
        self.labels_s = self.line.clock() - start

    def _ask_host(self, reservation: Reservation) -> None:
        hosts = self.line.hosts
        try:
            data = self.line.fetcher.fetch(self.job.image, reservation.grow)
        except BaseException as error:  # noqa: BLE001  # as above
            reservation.release()
            if isinstance(error, TemporaryError) and self._host is not None:
                hosts.failed(self._host, self, error)
            else:  # the host is none the worse
                self._report(hosts.answered)
            self._not_fetched(error)
        else:
            self.data = data
            self.fetch_s = self.line.clock() - (self._since_s or 0.0) - self.labels_s
            reservation.settle(len(data))
            self.keep(reservation)
            self._report(hosts.answered)
            self.fetched()

    def _not_fetched(self, error: BaseException) -> None:
        if isinstance(error, NoRoomError):
            self._make_room(error.size_bytes)
        elif isinstance(error, MemoryError):
            self.run_out_of_memory("fetched")
        else:
            self._failed(error)

    def _make_room(self, size_bytes: int) -> None:
        """Wait for memory, and make another attempt that counts as the same."""
        self._needs_bytes = size_bytes
        self._tried -= 1
        self.held_up = True
        self.wait_for_room()

    def run_out_of_memory(self, doing: str) -> None:
        """Try again: it was not the picture's fault, and others may have let go by then."""
        message = f"{shown_uri(self.job.image)} could not be {doing}: the worker ran out of memory."
        self._failed(TemporaryError(message, "OUT_OF_MEMORY"))

    def _report(self, report: Callable[[str, Errand], None]) -> None:
        if self._host is not None:
            report(self._host, self)

    def _failed(self, error: BaseException) -> None:
        """Try again, if that makes sense and there is time."""
        if not isinstance(error, TemporaryError):
            self.fail(error)
            return
        then = self.line.retry.after(
            error,
            tried=self._tried,
            trying_s=self._trying_s(),
            left_s=self.patience_ends_s() - self.line.clock(),
            random=self.line.random,
        )
        if then.given_up:
            self.fail(with_reason(error, then.given_up))
            return
        self.line.tally.pausing.add(self)
        self.line.timer.call_after(then.pause_s, self._resume)

    def _resume(self) -> None:
        self.line.tally.pausing.discard(self)
        if not self.ended:
            self.start()

    def _trying_s(self) -> float:
        if self._since_s is None:
            return 0.0
        return self.line.clock() - self._since_s - self._waited_s

    def _check_deadline(self) -> None:
        check_deadline(
            self.job,
            self.line.now(),
            "the task was started" if self._tried == 1 else "it was tried again",
        )


def check_deadline(job: Job, now: float, before: str) -> None:
    """Stop a job that nobody waits for any more.

    Args:
        job: Whose deadline counts.
        now: Unix time in seconds.
        before: What is not done then, for the sentence.

    Raises:
        ExpiredError: The deadline has passed.
    """
    if job.deadline is not None and (late_s := now - job.deadline) > 0:
        raise ExpiredError(
            f"The deadline {job.deadline:.3f} passed {late_s:.1f} s before {before}; give a later "
            "one or add workers."
        )
