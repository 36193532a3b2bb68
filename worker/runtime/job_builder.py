"""From a task's arguments to the request that the pipeline gets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from clip_engine.prompts import ensembles
from clip_worker.contract import (
    CLASSIFY,
    CLASSIFY_MANY,
    SENT_AT_HEADER,
    ClassifyManyRequest,
    ClassifyRequest,
    RequestOptions,
    parse,
)
from clip_worker.contract.search import SEARCH
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote
from worker.pipeline.image_task import TaggingRequest

REQUESTS: Mapping[str, type[ClassifyRequest | ClassifyManyRequest]] = {
    CLASSIFY: ClassifyRequest,
    CLASSIFY_MANY: ClassifyManyRequest,
}

POSITIONAL: Mapping[str, tuple[str, ...]] = {
    CLASSIFY: ("image", "labels"),
    CLASSIFY_MANY: ("images", "labels"),
    SEARCH: ("text",),
}


def tagging_request(request: RequestOptions) -> TaggingRequest:
    """A request as the pipeline gets it, its ensemble looked up.

    Raises:
        InvalidRequestError: `UNKNOWN_ENSEMBLE`.
    """
    return TaggingRequest(
        labels=request.labels or (),
        label_set=request.label_set,
        templates=_templates(request),
        k=request.k,
        score=request.score,
        none_of_these=request.none_of_these,
        threshold=request.threshold,
        deadline=request.deadline,
        return_embedding=request.return_embedding,
    )


def retag_request(options: Mapping[str, Any]) -> TaggingRequest:
    """A request without an image, from options that were validated.

    Raises:
        InvalidRequestError: Something is wrong with them.
    """
    return tagging_request(parse(RequestOptions, options))


def _templates(request: RequestOptions) -> tuple[str, ...]:
    """By name or in full; only the worker knows the names. Those of a label set come later."""
    if request.ensemble is None:
        return request.own_templates if request.label_set else request.all_templates
    known = ensembles()
    if request.ensemble not in known:
        raise InvalidRequestError(
            f"There is no ensemble {quote(request.ensemble)}; the worker knows {', '.join(known)}.",
            "UNKNOWN_ENSEMBLE",
        )
    return known[request.ensemble]


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
    names = POSITIONAL[task]
    if len(args) > len(names):
        raise InvalidRequestError(
            f"There are {len(args)} positional arguments; give {' and '.join(names)}, and the rest "
            "by name."
        )
    given: Mapping[str, Any] = kwargs
    if args:
        by_position = dict(zip(names, args, strict=False))
        if twice := by_position.keys() & kwargs.keys():
            raise InvalidRequestError(f"{min(twice)!r} is given twice; give it once.")
        given = {**by_position, **kwargs}
    # JSON's null says as much as leaving the argument out.
    return {name: value for name, value in given.items() if value is not None}


def queue_s(headers: Mapping[str, Any]) -> float | None:
    """Seconds since the producer sent the message, by both hosts' clocks, if it said when."""
    sent_at = headers.get(SENT_AT_HEADER)
    return max(0.0, time.time() - sent_at) if isinstance(sent_at, int | float) else None
