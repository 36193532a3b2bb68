"""Single flight: tasks that ask for the same image at the same time share its preparation.

The first task of an image is the *leader*; it goes through the stages. Those that come while it is
on its way follow it, and get its feature at the end of the forward pass. Each is scored with its
own labels, and ends at its own deadline or revocation. A leader that has ended goes on for its
followers until all of them have ended, too: so nothing is handed over.

Tasks of a message that was in a crash share nothing, since they run alone
(`worker.pipeline.batcher`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from clip_worker.contract.uri import find_upload
from worker.pipeline.error_translation import expired
from worker.pipeline.image_task import ImageTask, is_late, sharers

if TYPE_CHECKING:
    from worker.pipeline.timer import Timer

Failed = Callable[[ImageTask, BaseException], None]
LOOK_S = 1.0  # how often deadlines are looked at while images are shared


class SingleFlight:
    """Finds tasks that ask for the same image. Threads may share it.

    Args:
        then: The next stage, which gets the leaders.
        failed: Ends one task with an error, if it has not ended.
        timer: Looks at the deadlines of tasks that share an image.
        now: Unix time in seconds.
        is_on: Whether images are shared at all.
    """

    def __init__(
        self,
        *,
        then: Callable[[Sequence[ImageTask]], object],
        failed: Failed,
        timer: Timer,
        now: Callable[[], float],
        is_on: bool = True,
    ) -> None:
        self._is_on = is_on
        self._then = then
        self._failed = failed
        self._timer = timer
        self._now = now
        self._leaders: dict[str, ImageTask] = {}  # by image: those that may still be followed
        self._is_looking = False
        self._lock = threading.Lock()

    def run(self, tasks: Sequence[ImageTask]) -> None:
        """Hand on the first task of each image; the others follow it."""
        clock, leaders = self._timer.clock(), []
        has_followers = False
        with self._lock:
            for task in tasks:
                if task.error is not None:
                    continue
                leader = self._leader(task)
                if leader is task:
                    leaders.append(task)
                else:
                    task.leader, task.since_s = leader, clock
                    leader.followers = leader.followers or []
                    leader.followers.append(task)
                    has_followers = True
            is_first = has_followers and not self._is_looking
            self._is_looking |= has_followers
        if is_first:
            self._timer.call_after(LOOK_S, self._look)
        if leaders:
            self._then(leaders)

    def close(self, leaders: Sequence[ImageTask]) -> None:
        """Accept no more followers of these tasks; again does nothing."""
        with self._lock:
            for leader in leaders:
                image = image_of(leader)
                if self._leaders.get(image) is leader:
                    del self._leaders[image]

    def fail(self, leader: ImageTask, error: BaseException) -> None:
        """End all tasks that share an image with an error."""
        self.close([leader])
        for task in sharers(leader):
            self._failed(task, error)

    def _leader(self, task: ImageTask) -> ImageTask:
        is_suspect = task.message is not None and task.message.crashes
        if is_suspect or not self._is_on:
            return task
        return self._leaders.setdefault(image_of(task), task)

    def _look(self) -> None:
        """End the tasks whose deadline has passed while the image that they share is prepared."""
        with self._lock:
            shared = [leader for leader in self._leaders.values() if leader.followers]
            self._is_looking = bool(shared)
        if shared:
            self._timer.call_after(LOOK_S, self._look)
        now = self._now()
        for leader in shared:
            for task in sharers(leader):
                deadline = task.request.deadline
                if deadline is not None and task.error is None and is_late(task, now):
                    self._failed(task, expired(deadline, now, "it was prepared"))


def image_of(task: ImageTask) -> str:
    """What tasks for the same image have in common: the URI, without an upload's claim."""
    upload = find_upload(task.image)
    return upload.digest if upload else task.image


def take_times(follower: ImageTask, leader: ImageTask) -> None:
    """Set the times of a follower: those that it waited for, of the leader's."""
    joined_s = follower.since_s or 0.0
    waited_s = max(0.0, leader.prepared_s - joined_s)
    follower.prepared_s = max(leader.prepared_s, joined_s)
    follower.decode_s = min(leader.decode_s, waited_s)
    follower.fetch_s = min(leader.fetch_s, waited_s - follower.decode_s)
