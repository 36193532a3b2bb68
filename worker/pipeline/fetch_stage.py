"""Second stage: from image tasks to pixels, by the preparation processes, in several attempts.

An image waits where it occupies no thread and no process: for its host
(`worker.pipeline.host_limiter`), for its next attempt (`worker.pipeline.retry`), and in the pool,
for memory and a free process (`worker.preparation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from worker.contract.uri import is_upload
from worker.errors import ExpiredError, TemporaryError
from worker.pipeline.host_limiter import HostLimiter, Told, host_of
from worker.pipeline.image_task import ImageTask
from worker.pipeline.retry import Random, RetryPolicy, so_far, with_reason
from worker.preparation.records import ImageRequest, PreparedImage
from worker.quoting import shown_uri

if TYPE_CHECKING:
    from worker.pipeline.circuit_breaker import RestPolicy
    from worker.pipeline.stats import PipelineStats
    from worker.pipeline.timer import Timer
    from worker.pipeline.upload_reader import UploadReader

# Of temporary errors that say nothing about the image's host.
OWN_CODES = frozenset({"OUT_OF_MEMORY", "PREPARATION_UNAVAILABLE", "STOPPING"})


class Prepares(Protocol):
    """Prepares images; `worker.preparation.pool.PreparationPool` does."""

    def submit(self, requests: Sequence[ImageRequest]) -> None:
        """Take requests; each comes back as a `PreparedImage`."""

    def release(self, slots: Sequence[int]) -> None:
        """Free slots whose pixels are not needed any more."""


class FetchStage:
    """Sets `slot` of image tasks. Threads may share it.

    Args:
        pool: Prepares the images.
        timer: Ends pauses and rests.
        retry: When an attempt that failed is made again.
        threads: Fetches from other hosts at the same time.
        most_a_host: Likewise, from one host.
        rest: When a host is given a rest.
        uploads: Reads what clients have stored in Redis; None if there is no such Redis.
        in_flight: The tasks that have not ended, by key.
        then: The next stage.
        failed: Takes a task that can't be prepared, and why.
        stats: What is counted.
        now: Unix time in seconds.
        draw: Draws the jitter of pauses, evenly from [0, 1).
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        pool: Prepares,
        *,
        timer: Timer,
        retry: RetryPolicy,
        threads: int,
        most_a_host: int | None,
        rest: RestPolicy | None,
        uploads: UploadReader | None,
        in_flight: dict[int, ImageTask],
        then: Callable[[Sequence[ImageTask]], None],
        failed: Callable[[ImageTask, BaseException], None],
        stats: PipelineStats,
        now: Callable[[], float],
        draw: Random,
    ) -> None:
        self._pool = pool
        self._timer = timer
        self._retry = retry
        self._in_flight = in_flight
        self._started: dict[int, ImageTask] = {}  # by key: those that the pool has
        self._uploads = uploads
        self._then = then
        self._failed = failed
        self._stats = stats
        self._now = now
        self._draw = draw
        self._hosts: HostLimiter[ImageTask] = HostLimiter(
            timer, self, threads=threads, most_a_host=most_a_host, rest=rest
        )

    @property
    def resting(self) -> int:
        """Images that wait for another attempt, or for the end of their host's rest."""
        return len(self._stats.pausing) + self._hosts.resting

    def run(self, tasks: Sequence[ImageTask]) -> None:
        """Have images prepared, each when its host allows it."""
        local, remote, uploads = [], [], []
        for task in tasks:
            task.host = host_of(task.image)
            if task.host is not None:
                remote.append((task.host, task))
            elif task.data is None and self._uploads and is_upload(task.image):
                uploads.append(task)
            else:
                local.append(task)
        if uploads and self._uploads:
            self._uploads.put(uploads, then=self.start, failed=self._upload_failed)
        if local:
            self.start(local)
        if remote:
            self._hosts.enter(remote)

    def in_time(self, tasks: Sequence[ImageTask]) -> list[ImageTask]:
        """Those whose deadline has not passed; the others fail."""
        now = self._now()
        return [
            task for task in tasks if task.request.deadline is None or not self._is_late(task, now)
        ]

    def start(self, tasks: Sequence[ImageTask]) -> Iterable[ImageTask]:
        """Begin an attempt for each; those whose task has ended, or ends here."""
        requests, refused = [], []
        now, clock = self._now(), self._timer.clock()
        for task in tasks:
            deadline = task.request.deadline
            if task.key not in self._in_flight or self._is_late(task, now):
                refused.append(task)
                continue
            task.attempts += 1
            task.since_s = clock if task.since_s is None else task.since_s
            within_s = None if deadline is None else deadline - now
            self._started[task.key] = task
            requests.append(ImageRequest(task.key, task.image, task.data, within_s))
        if requests:
            self._pool.submit(requests)
        return refused

    def gives_up_at(self, task: ImageTask) -> float:
        """When the bound on all attempts ends, or the deadline; the bound begins here."""
        clock = self._timer.clock()
        task.was_delayed = True
        task.since_s = clock if task.since_s is None else task.since_s
        ends_s = task.since_s + self._retry.total_s
        deadline = task.request.deadline
        return ends_s if deadline is None else min(ends_s, clock + deadline - self._now())

    def turn_away(self, task: ImageTask, error: TemporaryError) -> None:
        """Fail a task whose host rests for too long."""
        tried = so_far(task.attempts, self._trying_s(task))
        self._failed(
            task,
            TemporaryError(
                f"{shown_uri(task.image)}: its host keeps failing ({error.code}) and is given a "
                f"rest, longer than this task can wait; {tried}.",
                error.code,
            ),
        )

    def prepared(self, images: Sequence[PreparedImage]) -> None:
        """Take what came of attempts; called by the pool."""
        ready: list[ImageTask] = []
        reports: list[tuple[str, ImageTask, TemporaryError | Told]] = []
        failed: list[tuple[ImageTask, BaseException]] = []
        for image in images:
            task = self._started.pop(image.key)
            if task.host is not None:
                reports.append((task.host, task, _told(image.error)))
            if image.key not in self._in_flight:  # it was given up
                if image.slot is not None:
                    self._pool.release([image.slot])
            elif image.error is not None:
                failed.append((task, image.error))
            else:
                self._take(task, image)
                ready.append(task)
        if ready:
            self._then(ready)
        if reports:
            self._hosts.report(reports)
        for task, error in failed:
            self.retry_or_fail(task, error, self.run)

    def _take(self, task: ImageTask, image: PreparedImage) -> None:
        task.slot, task.decode_s = image.slot, image.decode_s
        task.prepared_s = self._timer.clock()
        task.fetch_s += image.fetch_s
        if task.was_delayed:  # the pauses are part of it
            task.fetch_s = max(0.0, self._trying_s(task) - image.decode_s)
        else:
            self._stats.prepared(image.fetch_s + image.decode_s)
        if task.message is not None:
            task.message.progress()

    def _upload_failed(self, task: ImageTask, error: BaseException) -> None:
        task.attempts += 1
        self.retry_or_fail(task, error, self.run)

    def retry_or_fail(
        self,
        task: ImageTask,
        error: BaseException,
        again: Callable[[Sequence[ImageTask]], None],
    ) -> None:
        """Have a task tried again after a pause, if that makes sense and there is time.

        Args:
            task: Whose attempt failed.
            error: What it failed with.
            again: Makes the next attempt.
        """
        if not isinstance(error, TemporaryError):
            self._failed(task, error)
            return
        then = self._retry.after(
            error,
            tried=task.attempts,
            trying_s=self._trying_s(task),
            left_s=self.gives_up_at(task) - self._timer.clock(),
            random=self._draw,
        )
        if then.given_up:
            self._failed(task, with_reason(error, then.given_up))
            return
        self._stats.pausing.add(task.key)
        self._timer.call_after(then.pause_s, lambda: self._resume(task, again))

    def _resume(self, task: ImageTask, again: Callable[[Sequence[ImageTask]], None]) -> None:
        self._stats.pausing.discard(task.key)
        if task.key in self._in_flight:
            again([task])

    def _trying_s(self, task: ImageTask) -> float:
        return 0.0 if task.since_s is None else self._timer.clock() - task.since_s

    def _is_late(self, task: ImageTask, now: float) -> bool:
        try:
            check_deadline(
                task, now, "it was tried again" if task.attempts else "the task was started"
            )
        except ExpiredError as error:
            self._failed(task, error)
            return True
        return False


def check_deadline(task: ImageTask, now: float, before: str) -> None:
    """Stop a task that nobody waits for any more.

    Args:
        task: Whose deadline counts.
        now: Unix time in seconds.
        before: What is not done then, for the sentence.

    Raises:
        ExpiredError: The deadline has passed.
    """
    deadline = task.request.deadline
    if deadline is not None and (late_s := now - deadline) > 0:
        raise ExpiredError(
            f"The deadline {deadline:.3f} passed {late_s:.1f} s before {before}; give a later one "
            "or add workers."
        )


def _told(error: BaseException | None) -> TemporaryError | Told:
    if isinstance(error, TemporaryError) and error.code not in OWN_CODES:
        return error
    if isinstance(error, TemporaryError | ExpiredError):
        return Told.NOT_ASKED
    return Told.ANSWERED
