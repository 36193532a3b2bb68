"""The schema of the tasks `clip.classify` and `clip.classify_many`: their keyword arguments.

`parse` validates them and reports everything that is wrong in one `InvalidRequestError`: in the
client before anything is sent, and again in the worker. `clip_worker.contract.results` has the
results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, Field, StrictBool, StrictStr, ValidationError, model_validator

from clip_worker.contract.faults import FaultError, invalid_request
from clip_worker.contract.option_types import (
    DEFAULT_SCORE,
    DEFAULT_TEMPLATE,
    K,
    Labels,
    Name,
    Number,
    Score,
    Template,
    Templates,
    Threshold,
    Uri,
    Webhook,
)
from clip_worker.contract.results import Wire
from clip_worker.quoting import quote

TASK_PREFIX = "clip."  # of the names of our tasks, which nobody else has
CLASSIFY = "clip.classify"
CLASSIFY_MANY = "clip.classify_many"
SENT_AT_HEADER = "clip_sent_at"  # Unix time in seconds, set by our client; optional

DEFAULT_K = 5
MAX_IMAGES = 512
MAX_MESSAGE_BYTES = 128 * 1024 * 1024  # by default; of the message as it is in Redis

RequestT = TypeVar("RequestT", bound=BaseModel)


class RequestOptions(Wire):
    """What a task asks for, except which image.

    Attributes:
        labels: Distinct labels, or
        label_set: the name of a set stored by `Client.put_label_set`: `animals` for its newest
            version, `animals@3` for the third.
        k: Maximum number of predictions.
        template: Prompt for a label, with one `{}`, or
        templates: several, whose features are averaged, or
        ensemble: the name of a set of templates that the worker has. Without any, those of the
            label set, or else `a photo of a {}.`
        score: What `threshold` and the order of the predictions are about: `softmax`, `sigmoid`,
            `cosine` or `logit`.
        none_of_these: Whether the result includes the probability that no label fits.
        threshold: Predictions with a lower score are omitted; in [0, 1] for softmax and sigmoid,
            in [-1, 1] for cosine.
        deadline: Unix time in seconds after which the task expires.
        return_embedding: Whether the result includes the image's embedding.
        result_ttl_s: How long the result is kept, in seconds; at most as long as the worker keeps
            results (`CLIP_WORKER_RESULT_TTL_S`), which is the default.
        webhook: URL that the worker posts the result or the failure to.
    """

    labels: Labels | None = None
    label_set: Name | None = None
    k: K = DEFAULT_K
    template: Template | None = None
    templates: Templates | None = None
    ensemble: Name | None = None
    score: Score = DEFAULT_SCORE
    none_of_these: StrictBool = False
    threshold: Threshold | None = None
    deadline: Annotated[Number, Field(gt=0)] | None = None
    return_embedding: StrictBool = False
    result_ttl_s: Annotated[Number, Field(ge=1)] | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.labels is None and self.label_set is None:
            raise FaultError(
                "There are no labels; give labels=[...] or label_set='name'.", "NO_LABELS"
            )
        if self.labels is not None and self.label_set is not None:
            raise FaultError(
                f"There are labels and a label set ({quote(self.label_set)}); give one of the two.",
                "INVALID_REQUEST",
            )
        given = [
            name
            for name in ("template", "templates", "ensemble")
            if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise FaultError(f"There are {' and '.join(given)}; give only one.", "BAD_TEMPLATE")
        return self

    @property
    def own_templates(self) -> tuple[str, ...]:
        """The given templates, if any; not for requests with an `ensemble`."""
        assert self.ensemble is None, "only the worker has the templates of an ensemble"
        return self.templates or ((self.template,) if self.template else ())

    @property
    def all_templates(self) -> tuple[str, ...]:
        """The given templates, or the default; not for requests with an `ensemble`."""
        return self.own_templates or (DEFAULT_TEMPLATE,)


class ClassifyRequest(RequestOptions):
    """Keyword arguments of `clip.classify`: a request for one image."""

    image: Uri


class ClassifyManyRequest(RequestOptions):
    """Keyword arguments of `clip.classify_many`: one request for several images.

    A malformed URI fails that image alone, so the URIs are checked later, one by one.
    """

    images: Annotated[tuple[StrictStr, ...], Field(min_length=1, max_length=MAX_IMAGES)]


def asked_ttl_s(arguments: Mapping[str, Any]) -> int | None:
    """How long a task, not validated yet, asks for its result to be kept, in whole seconds.

    None if it does not ask, or if what it asks is invalid.
    """
    ttl_s = arguments.get("result_ttl_s")
    if not isinstance(ttl_s, int | float) or isinstance(ttl_s, bool):
        return None
    return math.ceil(ttl_s) if 0 < ttl_s < math.inf else None


def parse(request: type[RequestT], arguments: Mapping[str, Any]) -> RequestT:
    """Validate a task's keyword arguments.

    Raises:
        InvalidRequestError: One sentence per fault, five at most; with the code of the first.
    """
    try:
        return request.model_validate(dict(arguments))
    except ValidationError as error:
        raise invalid_request(request, error) from error
