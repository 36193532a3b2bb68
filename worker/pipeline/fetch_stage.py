"""Third stage: from image tasks to pixels, by the preparation processes, in several attempts.

An image task waits where it occupies no thread and no process: for its host
(`worker.pipeline.host_limiter`), for its next attempt (`worker.pipeline.retry`), and in the pool,
for memory and a free process (`worker.preparation`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from clip_worker.errors import ExpiredError, TemporaryError
from clip_worker.quoting import shown_uri
from worker.pipeline.error_translation import expired
from worker.pipeline.host_limiter import Answer, HostLimiter, Outcome, host_of
from worker.pipeline.image_task import (
    ImageTask,
    has_ended,
    is_wanted,
    last_deadline,
    sharers,
    tenant_of,
)
from worker.pipeline.retry import Retries, so_far
from worker.preparation.records import FetchedImage, ImageRequest, PreparedImage

if TYPE_CHECKING:
    from torch import Tensor

    from worker.pipeline.circuit_breaker import RestPolicy
    from worker.pipeline.single_flight import SingleFlight
    from worker.pipeline.timer import Timer

# Of temporary errors that say nothing about the image's host.
OWN_CODES = frozenset({"OUT_OF_MEMORY", "PREPARATION_UNAVAILABLE", "STOPPING"})
_WEIGHT = 0.05  # of the newest in the moving average: the last 20 or so count


Tasks = Callable[[Sequence[ImageTask]], None]


class ImagePool(Protocol):
    """Prepares images; `worker.preparation.pool.PreparationPool` does."""

    @property
    def images(self) -> Tensor:
        """Their pixels: uint8 `[S, 3, R, R]`, S slots."""

    def submit(self, requests: Sequence[ImageRequest]) -> None:
        """Take requests; each comes back as a `PreparedImage`."""

    def release(self, slots: Sequence[int]) -> None:
        """Free slots whose pixels are not needed any more."""


class FetchStage:
    """Sets `slot` of image tasks. Threads may share it.

    Args:
        pool: Prepares the images.
        retries: Makes further attempts.
        timer: Ends the rests of hosts.
        threads: Simultaneous fetches in all.
        most_a_host: Simultaneous fetches from one host.
        rest: When a host rests.
        flights: The tasks that share an image.
        then: The next stage.
        known: Takes images that were not decoded, since their features are known.
        fetched: Asked whether to decode images that were fetched; their `content` is known.
        failed: Takes one task that is not wanted any more, and why.
        gone: Called with an image that no task waits for any more.
        now: Unix time in seconds.

    Attributes:
        preparation_s: Seconds that fetching and decoding an image takes, a moving average over
            those that were not delayed. Waiting for a process does not count: it grows with what
            is in flight.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        pool: ImagePool,
        *,
        retries: Retries,
        timer: Timer,
        threads: int,
        most_a_host: int | None,
        rest: RestPolicy | None,
        flights: SingleFlight,
        then: Tasks,
        known: Tasks = lambda _tasks: None,
        fetched: Tasks = lambda _tasks: None,
        failed: Callable[[ImageTask, BaseException], None],
        gone: Callable[[ImageTask], None] = lambda _task: None,
        now: Callable[[], float],
    ) -> None:
        self.preparation_s = 0.0
        self._pool = pool
        self._retries = retries
        self._clock = timer.clock
        self._flights = flights
        self._then = then
        self._known = known
        self._ask = fetched
        self._failed = failed
        self._gone = gone
        self._now = now
        self._started: dict[int, ImageTask] = {}  # by key: those that the pool has
        self._hosts = HostLimiter(timer, self, threads=threads, most_a_host=most_a_host, rest=rest)
        self.gives_up_at = retries.gives_up_at

    @property
    def resting(self) -> int:
        """Image tasks that wait for the end of their host's rest."""
        return self._hosts.resting

    @property
    def hosts_resting(self) -> int:
        """Hosts that are not asked for now."""
        return self._hosts.resting_hosts

    def run(self, tasks: Sequence[ImageTask]) -> None:
        """Have images prepared, each when its host allows it."""
        local, remote = [], []
        for task in self.wanted(tasks):
            task.host = host_of(task.image)
            if task.host is None:
                local.append(task)
            else:
                remote.append(task)
        if local:
            self.start(local)
        if remote:
            self._hosts.enter(remote)

    def start(self, tasks: Sequence[ImageTask]) -> None:
        """Begin an attempt for each."""
        now, clock = self._now(), self._clock()
        requests = []
        for task in tasks:
            task.attempts += 1
            task.since_s = clock if task.since_s is None else task.since_s
            deadline = last_deadline(task)
            within_s = None if deadline is None else deadline - now
            self._started[task.key] = task
            requests.append(
                ImageRequest(task.key, task.image, task.data, within_s, tenant_of(task))
            )
        self._pool.submit(requests)

    def wanted(self, tasks: Sequence[ImageTask]) -> list[ImageTask]:
        """Those that are wanted; of the others the late ones fail."""
        wanted = []
        for task in tasks:
            if self.is_wanted(task):
                wanted.append(task)
            else:
                self.drop(task)
        return wanted

    def is_wanted(self, task: ImageTask) -> bool:
        """Whether it, or one that shares its image, has not ended and is not late."""
        return is_wanted(task, self._now())

    def drop(self, task: ImageTask, error: TemporaryError | None = None) -> None:
        """Fail a task that is not wanted any more, or whose host rests for too long.

        Args:
            task: That is not started.
            error: The last failure of its host; None if it is not wanted.
        """
        self._flights.close([task])
        if error is not None:
            tried = so_far(task.attempts, self._retries.trying_s(task))
            reason = (
                f"{shown_uri(task.image)}: its host keeps failing ({error.code}) and will not be "
                f"asked again within the time that this task can wait; {tried}."
            )
            self._flights.fail(task, TemporaryError(reason, error.code))
        elif self.is_wanted(task):  # by a follower that came meanwhile
            self.run([task])
        else:
            self._expire(task)
            self._gone(task)

    def fetched(self, images: Sequence[FetchedImage]) -> None:
        """Ask whether to decode images; called by the pool."""
        tasks = []
        for image in images:
            if task := self._started.get(image.key):
                task.content = image.content
                tasks.append(task)
        self._ask(tasks)

    def prepared(self, images: Sequence[PreparedImage]) -> None:
        """Take the outcomes of attempts; called by the pool."""
        outcomes = [(self._started.pop(image.key), image) for image in images]
        ready: list[ImageTask] = []
        gone: list[ImageTask] = []
        for task, image in outcomes:
            if image.error is None:
                (ready if self._take(task, image) else gone).append(task)
        if decoded := [task for task in ready if task.slot is not None]:
            self._then(decoded)
        if known := [task for task in ready if task.slot is None]:
            self._known(known)
        reports = [
            (task, _outcome(image.error)) for task, image in outcomes if task.host is not None
        ]
        if reports:
            self._hosts.report(reports)
        for task in gone:
            self.drop(task)
        for task, image in outcomes:
            if image.error is not None:
                self._try_again(task, image.error)

    def _try_again(self, task: ImageTask, error: BaseException) -> None:
        if has_ended(task) or (task.followers and isinstance(error, ExpiredError)):
            self.run([task])  # drops it; or a follower can wait for longer than the pool has
        else:
            self._retries.retry_or_fail(task, error, self.run)

    def _expire(self, leader: ImageTask) -> None:
        before = "it was tried again" if leader.attempts else "the task was started"
        for task in sharers(leader):
            deadline = task.request.deadline
            if task.error is None and deadline is not None:
                self._failed(task, expired(deadline, self._now(), before))

    def _take(self, task: ImageTask, image: PreparedImage) -> bool:
        """Note what came of an attempt; False if all that share the image have ended."""
        if has_ended(task):
            if image.slot is not None:
                self._pool.release([image.slot])
            return False
        task.slot, task.decode_s = image.slot, image.decode_s
        task.prepared_s = self._clock()
        task.fetch_s += image.fetch_s
        if task.was_delayed:  # the pauses are part of it
            task.fetch_s = max(0.0, self._retries.trying_s(task) - image.decode_s)
        else:
            seconds = image.fetch_s + image.decode_s
            usual_s = self.preparation_s or seconds
            self.preparation_s = usual_s + _WEIGHT * (seconds - usual_s)
        for each in sharers(task):
            if each.message is not None:
                each.message.progress()
        return True


def _outcome(error: BaseException | None) -> Outcome:
    """What an attempt says about its host."""
    if isinstance(error, TemporaryError) and error.code not in OWN_CODES:
        return error
    if isinstance(error, TemporaryError | ExpiredError):
        return Answer.NOT_ASKED
    return Answer.ANSWERED
