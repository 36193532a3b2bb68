"""What is asked of one picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One picture and what is asked of it, validated.

    Attributes:
        image: URI.
        labels: L different labels; or none, where
        label_set: names a stored set, which is read on the way and, if need be, more than once.
        templates: At least one.
        k: Most predictions.
        threshold: Least probability of a prediction.
        deadline: Unix time in seconds after which the job is dropped, or None.
        return_embedding: Whether the answer carries the picture's feature.
        queue_s: Seconds that the job waited in the queue, or None where that is not known.
        ticket: For the gate's use (`worker.pipeline.gate`); the pipeline does not look at it.
    """

    image: str
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    k: int
    threshold: float = 0.0
    deadline: float | None = None
    return_embedding: bool = False
    queue_s: float | None = None
    ticket: object | None = None
    label_set: str | None = None
