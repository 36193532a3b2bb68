"""One image on its way through a worker: what is asked, its state, and its result."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clip_engine.scoring.options import Score
    from clip_engine.scoring.text_features import TextFeatures
    from clip_worker.errors import ClipWorkerError
    from worker.pipeline.scoring_plan import ScoringPlan


@dataclass(frozen=True, slots=True)
class TaggingRequest:
    """What is asked of an image, validated. Image tasks with the same question share it.

    Attributes:
        labels: L different labels; empty if `label_set` names a stored list.
        templates: At least one; empty for those of the label set, or the usual one.
        k: Most predictions.
        score: What orders the labels.
        none_of_these: Whether the result has the probability that no label fits.
        threshold: Least score of a prediction; None for all, or for those of a calibration.
        deadline: Unix time in seconds after which the image task is dropped, or None.
        return_embedding: Whether the result carries the image's feature.
        label_set: Name of a stored label set, which is read when it is needed.
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...]
    k: int
    score: Score = "softmax"
    none_of_these: bool = False
    threshold: float | None = None
    deadline: float | None = None
    return_embedding: bool = False
    label_set: str | None = None


class Message(Protocol):
    """The queue message that asks for an image; `worker.delivery.delivery.Delivery` is one."""

    @property
    def ended(self) -> bool:
        """Whether its end is decided, so that its result is not needed any more."""

    @property
    def tenant(self) -> str:
        """Whose turn it takes; empty for none."""

    @property
    def crashes(self) -> Sequence[object]:
        """The crashes of workers that were working on it."""

    def log_fields(self, code: str | None = None) -> dict[str, str]:
        """The task and this error code, for a record of the log."""

    def progress(self) -> None:
        """Note that some of its work was done just now."""


class Owner(Protocol):
    """Receives image tasks that have ended."""

    def finished(self, tasks: Sequence[ImageTask]) -> None:
        """Take tasks that have a result or an error; called on any thread, once for each task."""


@dataclass(slots=True, eq=False)
class ImageTask:
    """The record that is handed from stage to stage. It has no behaviour of its own.

    Attributes:
        image: URI.
        request: What is asked.
        owner: Receives the task when it has ended.
        message: That asks for it; None if there is none.
        position: Of the image in its message.
        queue_s: Seconds that the message waited in the queue, None if that is not known.
        key: Unique in the process.
        plan: The labels, and how they are scored.
        text: Features of what the plan lists.
        host: That it is fetched from; None for what is read locally.
        data: The file, if this process has read it (uploads).
        content: SHA-256 of the file, in hexadecimal, where embeddings are kept.
        feature: Its stored embedding, float32 `[D]`; None if there is none.
        attempts: To fetch it, so far.
        since_s: When the first attempt began, or the first wait for its host (monotonic).
        was_delayed: Whether it was retried or waited for its host's rest to end.
        slot: Of its pixels in the shared images.
        prepared_s: When its pixels were there (monotonic).
        labels_s: Seconds that the labels took.
        fetch_s: Seconds from the first attempt to the bytes, pauses included.
        decode_s: Seconds that decoding and resizing took.
        result: JSON-ready fields of `clip_worker.contract.Classification`.
        error: What it failed with. A task with an error has ended; stages drop it, unless it leads
            others.
        leader: The task whose image it shares (`worker.pipeline.single_flight`).
        followers: Those that share its image.
    """

    image: str
    request: TaggingRequest
    owner: Owner
    message: Message | None = None
    position: int = 0
    queue_s: float | None = None
    key: int = field(default_factory=itertools.count().__next__)
    plan: ScoringPlan | None = None
    text: TextFeatures | None = None
    host: str | None = None
    data: bytes | None = None
    content: str | None = None
    feature: NDArray[np.float32] | None = None
    attempts: int = 0
    since_s: float | None = None
    was_delayed: bool = False
    slot: int | None = None
    prepared_s: float = 0.0
    labels_s: float = 0.0
    fetch_s: float = 0.0
    decode_s: float = 0.0
    result: dict[str, Any] | None = None
    error: ClipWorkerError | None = None
    leader: ImageTask | None = None
    followers: list[ImageTask] | None = None


def is_late(task: ImageTask, now: float) -> bool:
    """Whether a task's deadline has passed; `now` is Unix time in seconds."""
    deadline = task.request.deadline
    return deadline is not None and now > deadline


def tenant_of(task: ImageTask) -> str:
    """The tenant of a task's message; empty for none."""
    return task.message.tenant if task.message is not None else ""


def sharers(leader: ImageTask) -> Sequence[ImageTask]:
    """The tasks that share an image, itself included."""
    return (leader, *leader.followers) if leader.followers else (leader,)


def is_wanted(leader: ImageTask, now: float) -> bool:
    """Whether one of the tasks that share an image has not ended and is not late."""
    if not leader.followers:  # as most
        return leader.error is None and not is_late(leader, now)
    return any(task.error is None and not is_late(task, now) for task in sharers(leader))


def has_ended(leader: ImageTask) -> bool:
    """Whether all tasks that share an image have failed."""
    return leader.error is not None and all(task.error is not None for task in sharers(leader))


def last_deadline(leader: ImageTask) -> float | None:
    """Unix time in seconds until which an image is wanted; None without an end."""
    if not leader.followers:
        return leader.request.deadline
    last = 0.0
    for task in sharers(leader):
        if task.error is None:
            if task.request.deadline is None:
                return None
            last = max(last, task.request.deadline)
    return last
