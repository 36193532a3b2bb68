"""The schema of the tasks `clip.classify` and `clip.classify_many`: their keyword arguments.

`parse` validates them and reports everything that is wrong in one `InvalidRequestError`: in the
client before anything is sent, and again in the worker. `clip_worker.contract.results` has the
results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from clip_worker.contract.results import Wire
from clip_worker.contract.text import LONE_SURROGATE, is_text
from clip_worker.contract.uri import validate_uri
from clip_worker.contract.webhooks import validate_webhook
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote, shown_uri

TASK_PREFIX = "clip."  # of the names of our tasks, which nobody else has
CLASSIFY = "clip.classify"
CLASSIFY_MANY = "clip.classify_many"
SENT_AT_HEADER = "clip_sent_at"  # Unix time in seconds, set by our client; optional

DEFAULT_K = 5
DEFAULT_TEMPLATE = "a photo of a {}."
MAX_LABELS = 100_000
MAX_LABEL_CHARS = 2_000  # 75 tokens are less; the tokenizer's time grows faster than the text
MAX_TEMPLATES = 200
MAX_IMAGES = 512

MOST_FAULTS = 5  # in an error; a list of 100,000 numbers has as many
FIELD_CODES = {
    "k": "BAD_K",
    "labels": "BAD_LABELS",
    "image": "BAD_URI",
    "template": "BAD_TEMPLATE",
    "templates": "BAD_TEMPLATE",
    "ensemble": "BAD_TEMPLATE",
    "webhook": "BAD_WEBHOOK",
}

# What would be valid, where pydantic's messages are about Python's types.
REMEDIES = {
    "tuple_type": "give a list of strings",
    "string_type": "give a string",
    "int_type": "give an integer",
    "float_type": "give a number",
    "bool_type": "give true or false",
    "too_short": "give at least one",
    "string_unicode": f"it {LONE_SURROGATE}",
}


class _FaultError(ValueError):
    """Raised by validators; `parse` takes the code from it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def _check_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    if not labels:
        raise _FaultError("There are no labels; give at least one.", "NO_LABELS")
    if len(labels) > MAX_LABELS:
        raise _FaultError(
            f"There are {len(labels)} labels; give at most {MAX_LABELS}.", "TOO_MANY_LABELS"
        )
    seen: set[str] = set()
    for label in labels:
        if not is_text(label):
            raise _FaultError(f"The label {quote(label)} {LONE_SURROGATE}.", "BAD_LABELS")
        if not label.strip():
            raise _FaultError(f"The label {quote(label)} is blank; remove it.", "BLANK_LABEL")
        if len(label) > MAX_LABEL_CHARS:
            raise _FaultError(
                f"The label {quote(label)} has {len(label)} characters; give at most "
                f"{MAX_LABEL_CHARS}.",
                "LABEL_TOO_LONG",
            )
        if label in seen:
            raise _FaultError(
                f"The label {quote(label)} is there twice; give each label once.", "DUPLICATE_LABEL"
            )
        seen.add(label)
    return labels


def _check_k(k: int) -> int:
    if k < 1:
        raise _FaultError(f"k is {k}; give 1 or more.", "BAD_K")
    return k


def _check_template(template: str) -> str:
    if not is_text(template):
        raise _FaultError(f"The template {quote(template)} {LONE_SURROGATE}.", "BAD_TEMPLATE")
    if template.count("{}") != 1:
        raise _FaultError(
            f"The template {quote(template)} has {template.count('{}')} placeholders; give exactly "
            f"one {{}}, as in {DEFAULT_TEMPLATE!r}.",
            "BAD_TEMPLATE",
        )
    if len(template) > MAX_LABEL_CHARS:
        raise _FaultError(
            f"The template {quote(template)} has {len(template)} characters; give at most "
            f"{MAX_LABEL_CHARS}.",
            "BAD_TEMPLATE",
        )
    return template


def _check_uri(uri: str) -> str:
    try:
        return validate_uri(uri)
    except InvalidRequestError as error:
        raise _FaultError(error.message, error.code) from error


def _check_webhook(url: str) -> str:
    try:
        return validate_webhook(url)
    except InvalidRequestError as error:
        raise _FaultError(error.message, error.code) from error


RequestT = TypeVar("RequestT", bound=BaseModel)
Labels = Annotated[tuple[StrictStr, ...], AfterValidator(_check_labels)]
Template = Annotated[StrictStr, AfterValidator(_check_template)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=200)]
Uri = Annotated[StrictStr, AfterValidator(_check_uri)]
Webhook = Annotated[StrictStr, AfterValidator(_check_webhook)]


class RequestOptions(Wire):
    """What a task asks for, except which image.

    Attributes:
        labels: Distinct labels, or
        label_set: the name of a set stored by `Client.put_label_set`.
        k: Maximum number of predictions.
        template: Prompt for a label, with one `{}`, or
        templates: several, whose features are averaged, or
        ensemble: the name of a set of templates that the worker has.
        threshold: Predictions less probable than this are omitted; in [0, 1].
        deadline: Unix time in seconds after which the task expires.
        return_embedding: Whether the result includes the image's embedding.
        result_ttl_s: How long the result is kept, in seconds; at most as long as the worker keeps
            results (`CLIP_WORKER_RESULT_TTL_S`), which is the default.
        webhook: URL that the worker posts the result or the failure to.
    """

    labels: Labels | None = None
    label_set: Name | None = None
    k: Annotated[StrictInt, AfterValidator(_check_k)] = DEFAULT_K
    template: Template | None = None
    templates: (
        Annotated[tuple[Template, ...], Field(min_length=1, max_length=MAX_TEMPLATES)] | None
    ) = None
    ensemble: Name | None = None
    threshold: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    deadline: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    return_embedding: StrictBool = False
    result_ttl_s: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.labels is None and self.label_set is None:
            raise _FaultError(
                "There are no labels; give labels=[...] or label_set='name'.", "NO_LABELS"
            )
        if self.labels is not None and self.label_set is not None:
            raise _FaultError(
                f"There are labels and a label set ({quote(self.label_set)}); give one of the two.",
                "INVALID_REQUEST",
            )
        given = [
            name
            for name in ("template", "templates", "ensemble")
            if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise _FaultError(f"There are {' and '.join(given)}; give only one.", "BAD_TEMPLATE")
        return self

    @property
    def all_templates(self) -> tuple[str, ...]:
        """The given templates, or the default; not for requests with an `ensemble`."""
        assert self.ensemble is None, "only the worker has the templates of an ensemble"
        return self.templates or (self.template or DEFAULT_TEMPLATE,)


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
        faults = _without_repeated(error.errors(include_url=False))
        sentences = list(dict.fromkeys(_sentence(request, fault) for fault in faults))
        if len(sentences) > MOST_FAULTS:
            sentences[MOST_FAULTS:] = [f"And {len(sentences) - MOST_FAULTS} more."]
        raise InvalidRequestError(" ".join(sentences), _code(faults[0])) from error


def _without_repeated(faults: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The faults without "too short" for lists whose items are invalid."""
    others = {fault["loc"][:1] for fault in faults if fault["type"] != "too_short"}
    return [
        fault for fault in faults if fault["type"] != "too_short" or fault["loc"][:1] not in others
    ]


def _sentence(request: type[BaseModel], fault: Mapping[str, Any]) -> str:
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, _FaultError):
        return str(cause)
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] in ("extra_forbidden", "invalid_key") or not fault["loc"]:  # a key's
        known = ", ".join(request.model_fields)
        option = name if fault["type"] == "extra_forbidden" else fault["input"]
        return f"Unknown option {quote(option)}; the options are {known}."
    if fault["type"] == "missing":
        return f"{name!r} is missing; it is required."
    remedy = REMEDIES.get(fault["type"]) or fault["msg"][0].lower() + fault["msg"][1:]
    show = shown_uri if fault["loc"][0] in ("image", "images", "webhook") else quote
    return f"{name} is {show(fault['input'])}: {remedy}."


def _code(fault: Mapping[str, Any]) -> str:
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, _FaultError):
        return cause.code
    field = str(fault["loc"][0]) if fault["loc"] else ""
    return FIELD_CODES.get(field, InvalidRequestError.default_code)
