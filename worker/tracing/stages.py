"""When each stage of an image began and ended, reckoned from the times that the pipeline took."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from worker.pipeline.image_task import ImageTask


class Stage(NamedTuple):
    """A stage of an image.

    Attributes:
        name: As in the result's `timing`.
        began: Unix time in seconds.
        ended: Unix time in seconds.
    """

    name: str
    began: float
    ended: float


def stages_of(task: ImageTask, ended: float, ended_s: float) -> list[Stage]:
    """The stages that an image task has been through, in their order.

    Args:
        task: That has ended.
        ended: Unix time in seconds at which it ended.
        ended_s: The same by the pipeline's clock.
    """
    if not task.prepared_s:
        return _unprepared(task, ended, ended_s)
    prepared = ended - max(0.0, ended_s - task.prepared_s)
    decoding = prepared - task.decode_s
    fetching = decoding - task.fetch_s
    stages = [
        Stage("labels", fetching - task.labels_s, fetching),
        Stage("fetch", fetching, decoding),
        Stage("decode", decoding, prepared),
    ]
    if task.result is None:
        return [*stages, Stage("batch_wait", prepared, ended)]
    timing = task.result["timing"]
    began = prepared + timing["batch_wait"]
    forwarded = began + timing["forward"]
    scoring = max(forwarded, ended - timing["score"])
    return [
        *stages,
        Stage("batch_wait", prepared, began),
        Stage("forward", began, forwarded),
        Stage("score", scoring, max(scoring, ended)),
    ]


def _unprepared(task: ImageTask, ended: float, ended_s: float) -> list[Stage]:
    """Of an image that could not be fetched or decoded, or whose labels are wrong."""
    if task.since_s is None:
        return []
    began = ended - max(0.0, ended_s - task.since_s)
    return [Stage("labels", began - task.labels_s, began), Stage("fetch", began, ended)]
