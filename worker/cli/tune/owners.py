"""Feed the pipeline of a worker with images, and take what comes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from clip_worker.errors import ClipWorkerError, ImageInvalidError, ImageUnavailableError
from worker.pipeline.image_task import ImageTask, TaggingRequest

if TYPE_CHECKING:
    from worker.pipeline.pipeline import Pipeline

LEAST_RUNS = 4  # ends of batches that a rate is taken from
LIMIT_S = 300.0  # for one image

UNREADABLE = (ImageInvalidError, ImageUnavailableError)  # the image's own fault


@dataclass(frozen=True, slots=True)
class Rate:
    """So many images in so many seconds, from the end of one batch to that of another."""

    images: int
    seconds: float


class Waiting:
    """An owner of image tasks that keeps those that have ended until they are taken."""

    def __init__(self) -> None:
        self._ended: list[tuple[ImageTask, float]] = []
        self._changed = threading.Condition()

    def finished(self, tasks: Sequence[ImageTask]) -> None:
        """Keep tasks that have ended, with the time."""
        now = time.perf_counter()
        with self._changed:
            self._ended += [(task, now) for task in tasks]
            self._changed.notify()

    def take(self) -> list[tuple[ImageTask, float]]:
        """Those that have ended, each with when (`time.perf_counter`); waits for the first.

        Raises:
            TimeoutError: None ends.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended, LIMIT_S):
                raise TimeoutError(f"No image was done within {LIMIT_S:g} s.")
            ended, self._ended = self._ended, []
        return ended


def full_queue(  # noqa: PLR0913  # two of them are called back
    pipeline: Pipeline,
    images: Sequence[str],
    request: TaggingRequest,
    *,
    seconds: float,
    in_flight: int,
    begins: Callable[[], object],
    ends: Callable[[int], object],
) -> Rate:
    """Keep so many images in flight, and give the rate once the pipeline is full.

    Args:
        pipeline: Idle; its tasks are abandoned in the end.
        images: URIs, used in turn.
        request: What is asked.
        seconds: Least duration.
        in_flight: Images at a time.
        begins: Called when the measured time begins.
        ends: Called when it ends, with the number of images since.

    Raises:
        ClipWorkerError: An image failed.
    """
    owner, numbers = Waiting(), count()
    submit(pipeline, images, request, owner, [next(numbers) for _ in range(in_flight)])
    marks: list[tuple[int, float]] = []  # images so far, when
    done = counted = 0
    while not _is_enough(marks, seconds):
        ended = owner.take()
        if error := next((task.error for task, _ in ended if task.error), None):
            raise error
        submit(pipeline, images, request, owner, [next(numbers) for _ in ended])
        done += len(ended)
        if done < in_flight // 2:  # the first ones found everything idle
            continue
        if not marks:
            begins()
            counted = done
        marks.append((done, ended[-1][1]))
    ends(done - counted)
    pipeline.abandon()
    (first, began), (last, ended_at) = marks[0], marks[-1]
    return Rate(last - first, ended_at - began)


def one_by_one(
    pipeline: Pipeline,
    images: Sequence[str],
    request: TaggingRequest,
    *,
    seconds: float,
    least: int,
) -> list[float]:
    """Seconds that single images take on an idle pipeline, ascending.

    Raises:
        ClipWorkerError: An image failed.
    """
    owner = Waiting()
    found: list[float] = []
    until = time.perf_counter() + seconds
    for number in count():
        if number >= least and time.perf_counter() >= until:
            return sorted(found)
        start = time.perf_counter()
        submit(pipeline, images, request, owner, [number])
        [(task, ended)] = owner.take()
        if task.error:
            raise task.error
        found.append(ended - start)
    raise AssertionError  # `count` does not end


@dataclass(frozen=True, slots=True)
class Features:
    """Of the first images of a sample.

    Attributes:
        embeddings: By the image's index.
        failed: By the index of an image that can't be read: why not.
        count: How many there are of both.
    """

    embeddings: dict[int, list[float]]
    failed: dict[int, str]
    count: int


def features(
    pipeline: Pipeline,
    images: Sequence[str],
    request: TaggingRequest,
    *,
    seconds: float,
    in_flight: int,
) -> Features:
    """Encode images, as many of them as `seconds` suffice for, and at least `in_flight`.

    Raises:
        ClipWorkerError: An image failed for another reason than itself.
    """
    owner = Waiting()
    embeddings: dict[int, list[float]] = {}
    failed: dict[int, str] = {}
    asked = replace(request, return_embedding=True)
    until, begun = time.perf_counter() + seconds, 0
    while begun < len(images) and (begun == 0 or time.perf_counter() < until):
        indices = range(begun, min(begun + in_flight, len(images)))
        submit(pipeline, images, asked, owner, indices)
        begun = indices.stop
        while len(embeddings) + len(failed) < begun:
            for task, _ in owner.take():
                if task.error is None:
                    assert task.result is not None
                    embeddings[task.position] = task.result["embedding"]
                else:
                    failed[task.position] = _unreadable(task.error)
    return Features(embeddings, failed, begun)


def submit(
    pipeline: Pipeline,
    images: Sequence[str],
    request: TaggingRequest,
    owner: Waiting,
    numbers: Sequence[int],
) -> None:
    """Begin with the images of these numbers; after the last image comes the first again."""
    pipeline.submit(
        [
            ImageTask(images[number % len(images)], request, owner, position=number)
            for number in numbers
        ]
    )


def _is_enough(marks: Sequence[tuple[int, float]], seconds: float) -> bool:
    return len(marks) > LEAST_RUNS and marks[-1][1] - marks[0][1] >= seconds


def _unreadable(error: ClipWorkerError) -> str:
    if isinstance(error, UNREADABLE):
        return str(error)
    raise error
