"""One image on its way through a worker: what is asked of it, where it stands, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from worker.errors import ClipWorkerError


@dataclass(frozen=True, slots=True)
class TaggingRequest:
    """What is asked of an image, validated; images of one message or of equal ones share it.

    Attributes:
        labels: L different labels; or none, where
        label_set: names a stored set, which is read when it is needed.
        templates: At least one.
        k: Most predictions.
        threshold: Least probability of a prediction.
        deadline: Unix time in seconds after which the image is dropped, or None.
        return_embedding: Whether the result carries the image's feature.
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...]
    k: int
    threshold: float = 0.0
    deadline: float | None = None
    return_embedding: bool = False
    label_set: str | None = None


class Message(Protocol):
    """The queue message that asks for an image; `worker.delivery.delivery.Delivery` is one."""

    @property
    def ended(self) -> bool:
        """Whether its end is decided, so that nobody needs the result any more."""

    @property
    def crashes(self) -> Sequence[object]:
        """The crashes of workers that had begun it."""

    def progress(self) -> None:
        """Note that some of its work was done just now."""


class Owner(Protocol):
    """Whoever waits for image tasks."""

    def finished(self, tasks: Sequence[ImageTask]) -> None:
        """Take tasks that have a result or an error; called on any thread, once for each task."""


@dataclass(slots=True, eq=False)
class ImageTask:
    """A record that the stages hand on; it has no behaviour of its own.

    Attributes:
        image: URI.
        request: What is asked.
        owner: Told of the end.
        message: That asks for it; None if there is none.
        position: Of the image in its message.
        queue_s: Seconds that the message waited in the queue, None where that is not known.
        key: Unique in the process; given by the pipeline.
        labels: The request's, or those of its label set.
        label_features: float32 `[L, D]`.
        host: Where it is fetched from, None if that is no host that can fail.
        data: Bytes that this process has read for it already.
        attempts: So far, to fetch it.
        since_s: When the first attempt began, or the first wait for its host (monotonic).
        was_delayed: Whether there was more than one attempt, or a wait for its host.
        slot: Of its pixels in the shared images.
        prepared_s: When these were there (monotonic).
        labels_s: Seconds that the labels took.
        fetch_s: Seconds from the first attempt to the bytes, pauses included.
        decode_s: Seconds that decoding and resizing took.
        result: JSON-ready fields of `worker.contract.Classification`.
        error: What it failed with instead.
    """

    image: str
    request: TaggingRequest
    owner: Owner
    message: Message | None = None
    position: int = 0
    queue_s: float | None = None
    key: int = -1
    labels: tuple[str, ...] = ()
    label_features: Tensor | None = None
    host: str | None = None
    data: bytes | None = None
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
