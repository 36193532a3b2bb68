"""From a request about pictures to jobs of the pipeline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from worker.contract import (
    CLASSIFY,
    CLASSIFY_MANY,
    SENT_AT_HEADER,
    ClassifyManyRequest,
    ClassifyRequest,
    Question,
    parse,
)
from worker.errors import InvalidRequestError
from worker.pipeline.job import Job
from worker.runtime.ensembles import templates_of
from worker.sources import validate_uri

REQUESTS: Mapping[str, type[ClassifyRequest | ClassifyManyRequest]] = {
    CLASSIFY: ClassifyRequest,
    CLASSIFY_MANY: ClassifyManyRequest,
}


class Asked:
    """One message's question, whose pictures share their labels.

    Args:
        request: What was asked.
        headers: Of the message.
        ticket: For the gate (`worker.pipeline.gate`).

    Raises:
        InvalidRequestError: The ensemble is not known.
    """

    def __init__(
        self,
        request: Question,
        headers: Mapping[str, Any],
        ticket: object | None = None,
    ) -> None:
        self._request = request
        self._templates = templates_of(request)
        self._queue_s = _queue_s(headers)
        self._ticket = ticket

    def job(self, image: str) -> Job:
        """What the pipeline is asked about one picture.

        Raises:
            InvalidRequestError: The URI is none.
        """
        return self.job_about(validate_uri(image))

    def job_about(self, image: str) -> Job:
        """The same, of a URI that has been checked."""
        request = self._request
        return Job(
            image=image,
            labels=request.labels or (),
            label_set=request.label_set,
            templates=self._templates,
            k=request.k,
            threshold=request.threshold or 0.0,
            deadline=request.deadline,
            return_embedding=request.return_embedding,
            queue_s=self._queue_s,
            ticket=self._ticket,
        )


def read_request(
    task: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> ClassifyRequest | ClassifyManyRequest:
    """Validate a task's arguments.

    Raises:
        InvalidRequestError: Naming what is wrong.
    """
    return parse(REQUESTS[task], named_arguments(task, args, kwargs))


def named_arguments(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All of a task's arguments by their names; those that are null are left out.

    Raises:
        InvalidRequestError: There are too many, or one is given twice.
    """
    request = REQUESTS[task]
    names = ("image" if request is ClassifyRequest else "images", "labels")
    if len(args) > len(names):
        raise InvalidRequestError(
            f"There are {len(args)} positional arguments; give {names[0]} and labels, and the rest "
            "by name."
        )
    given = dict(zip(names, args, strict=False))
    if twice := given.keys() & kwargs.keys():
        raise InvalidRequestError(f"{min(twice)!r} is given twice; give it once.")
    given.update(kwargs)
    # JSON's null says as much as leaving the argument out.
    return {name: value for name, value in given.items() if value is not None}


def _queue_s(headers: Mapping[str, Any]) -> float | None:
    """Seconds since the producer sent the message, by both hosts' clocks, if it said when."""
    sent_at = headers.get(SENT_AT_HEADER)
    return max(0.0, time.time() - sent_at) if isinstance(sent_at, int | float) else None
