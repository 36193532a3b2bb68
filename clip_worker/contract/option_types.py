"""The types of a request's options, with the checks that pydantic has none for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, StrictInt, StrictStr, ValidationInfo

from clip_worker.contract.faults import FaultError
from clip_worker.contract.text import LONE_SURROGATE, is_text
from clip_worker.contract.uri import validate_uri
from clip_worker.contract.webhooks import validate_webhook
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote

DEFAULT_TEMPLATE = "a photo of a {}."
MAX_LABELS = 100_000
MAX_TEMPLATES = 200
MAX_LABEL_CHARS = 2_000  # 75 tokens are less; the tokenizer's time grows faster than the text

Score: TypeAlias = Literal["softmax", "sigmoid", "cosine", "logit"]
DEFAULT_SCORE: Score = "softmax"
PROBABILITIES: tuple[Score, ...] = ("softmax", "sigmoid")  # the scores in [0, 1]


def check_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Check that there are labels, all different, none of them blank or too long."""
    if not labels:
        raise FaultError("There are no labels; give at least one.", "NO_LABELS")
    if len(labels) > MAX_LABELS:
        raise FaultError(
            f"There are {len(labels)} labels; give at most {MAX_LABELS}.", "TOO_MANY_LABELS"
        )
    seen: set[str] = set()
    for label in labels:
        if not is_text(label):
            raise FaultError(f"The label {quote(label)} {LONE_SURROGATE}.", "BAD_LABELS")
        if not label.strip():
            raise FaultError(f"The label {quote(label)} is blank; remove it.", "BLANK_LABEL")
        if len(label) > MAX_LABEL_CHARS:
            raise FaultError(
                f"The label {quote(label)} has {len(label)} characters; give at most "
                f"{MAX_LABEL_CHARS}.",
                "LABEL_TOO_LONG",
            )
        if label in seen:
            raise FaultError(
                f"The label {quote(label)} is there twice; give each label once.", "DUPLICATE_LABEL"
            )
        seen.add(label)
    return labels


def _check_k(k: int) -> int:
    if k < 1:
        raise FaultError(f"k is {k}; give 1 or more.", "BAD_K")
    return k


def _check_template(template: str) -> str:
    if not is_text(template):
        raise FaultError(f"The template {quote(template)} {LONE_SURROGATE}.", "BAD_TEMPLATE")
    if template.count("{}") != 1:
        raise FaultError(
            f"The template {quote(template)} has {template.count('{}')} placeholders; give exactly "
            f"one {{}}, as in {DEFAULT_TEMPLATE!r}.",
            "BAD_TEMPLATE",
        )
    if len(template) > MAX_LABEL_CHARS:
        raise FaultError(
            f"The template {quote(template)} has {len(template)} characters; give at most "
            f"{MAX_LABEL_CHARS}.",
            "BAD_TEMPLATE",
        )
    return template


def check_threshold(threshold: float, others: ValidationInfo) -> float:
    """Check a threshold against the scale of the `score`, a field before it."""
    score = others.data.get("score")  # None if it is invalid
    least = -1 if score == "cosine" else 0
    if score in (*PROBABILITIES, "cosine") and not least <= threshold <= 1:
        raise FaultError(
            f"threshold is {threshold}; give a number from {least} to 1, the scale of the score "
            f"{score!r}.",
            "INVALID_REQUEST",
        )
    return threshold


def _checked_by(validate: Callable[[str], str]) -> AfterValidator:
    def check(value: str) -> str:
        try:
            return validate(value)
        except InvalidRequestError as error:
            raise FaultError(error.message, error.code) from error

    return AfterValidator(check)


Labels = Annotated[tuple[StrictStr, ...], AfterValidator(check_labels)]
K = Annotated[StrictInt, AfterValidator(_check_k)]
Template = Annotated[StrictStr, AfterValidator(_check_template)]
Templates = Annotated[tuple[Template, ...], Field(min_length=1, max_length=MAX_TEMPLATES)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Threshold = Annotated[Number, AfterValidator(check_threshold)]
Uri = Annotated[StrictStr, _checked_by(validate_uri)]
Webhook = Annotated[StrictStr, _checked_by(validate_webhook)]
