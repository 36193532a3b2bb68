"""A host limiter without threads and real time, and the fetches that a test makes and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.fake_timer import FakeTimer

from clip_worker.errors import TemporaryError
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.host_limiter import Answer, HostLimiter
from worker.pipeline.image_task import ImageTask, TaggingRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

REST = RestPolicy(failures=3, first_s=1.0, factor=2.0, longest_s=8.0)
REQUEST = TaggingRequest(("a",), ("{}",), 1)


def broken(retry_after_s: float | None = None) -> TemporaryError:
    error = TemporaryError("It failed.", "FETCH_503")
    error.retry_after_s = retry_after_s
    return error


class HostBench:
    """A limiter, and the fetches that a test makes and ends by hand."""

    def __init__(self, threads: int = 32, most_a_host: int | None = None) -> None:
        self.timer = FakeTimer()
        self.started: list[ImageTask] = []
        self.dropped: dict[ImageTask, TemporaryError | None] = {}
        self.unwanted: set[ImageTask] = set()
        self.patience_s: dict[ImageTask, float] = {}
        self.limiter = HostLimiter(
            self.timer,  # type: ignore[arg-type]  # it has what is used
            self,
            threads=threads,
            most_a_host=most_a_host,
            rest=REST,
        )

    def start(self, tasks: Sequence[ImageTask]) -> None:
        assert self.limiter.resting >= 0, "called without the lock, or this would hang"
        self.started += tasks

    def drop(self, task: ImageTask, error: TemporaryError | None) -> None:
        assert self.limiter.resting >= 0, "likewise"
        self.dropped[task] = error

    def is_wanted(self, task: ImageTask) -> bool:
        return task not in self.unwanted

    def gives_up_at(self, task: ImageTask) -> float:
        return self.timer.now_s + self.patience_s.get(task, 1e9)

    def enter(self, *hosts: str, patience_s: float = 1e9) -> list[ImageTask]:
        """One fetch for each host."""
        tasks = [ImageTask(host, REQUEST, None, host=host) for host in hosts]  # type: ignore[arg-type]  # no owner
        for task in tasks:
            self.patience_s[task] = patience_s
            self.limiter.enter([task])
        return tasks

    def answer(self, *tasks: ImageTask) -> None:
        for task in tasks:
            self.limiter.report([(task, Answer.ANSWERED)])

    def fail(self, *tasks: ImageTask, retry_after_s: float | None = None) -> None:
        for task in tasks:
            self.limiter.report([(task, broken(retry_after_s))])

    def rest(self, host: str) -> None:
        """Have a host fail until it rests."""
        self.fail(*self.enter(*host * REST.failures))

    def going(self, tasks: Sequence[ImageTask]) -> str:
        return "".join(task.image for task in tasks if task in self.started)

    def is_clean(self, threads: int) -> bool:
        """Whether no host is remembered and all threads are free."""
        if len(self.limiter):
            return False
        tasks = self.enter(*map(str, range(threads + 1)))
        return [task in self.started for task in tasks] == [True] * threads + [False]
