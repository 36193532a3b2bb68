"""Turns what pydantic finds wrong with a request into sentences with a stable code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from clip_worker.contract.text import LONE_SURROGATE
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote, shown_uri

MOST_FAULTS = 5  # in an error; a list of 100,000 numbers has as many
FIELD_CODES = {
    "k": "BAD_K",
    "labels": "BAD_LABELS",
    "image": "BAD_URI",
    "template": "BAD_TEMPLATE",
    "templates": "BAD_TEMPLATE",
    "ensemble": "BAD_TEMPLATE",
    "score": "BAD_SCORE",
    "calibration": "BAD_CALIBRATION",
    "webhook": "BAD_WEBHOOK",
    "text": "BAD_QUERY",
}

# What would be valid, where pydantic's messages are about Python's types.
REMEDIES = {
    "tuple_type": "give a list of strings",
    "string_type": "give a string",
    "int_type": "give an integer",
    "float_type": "give a number",
    "bool_type": "give true or false",
    "literal_error": "give {expected}",
    "too_short": "give at least one",
    "string_unicode": f"it {LONE_SURROGATE}",
}


class FaultError(ValueError):
    """Raised by validators of a request: a sentence, and its code.

    Args:
        message: One sentence, with the value at fault and how to fix it.
        code: As of an `InvalidRequestError`.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def invalid_request(model: type[BaseModel], error: ValidationError) -> InvalidRequestError:
    """The error for a request that pydantic has found invalid.

    Args:
        model: What the request was validated as.
        error: What is wrong with it.

    Returns:
        One sentence per fault, five at most; with the code of the first.
    """
    faults = _without_repeated(error.errors(include_url=False))
    sentences = list(dict.fromkeys(_sentence(model, fault) for fault in faults))
    if len(sentences) > MOST_FAULTS:
        sentences[MOST_FAULTS:] = [f"And {len(sentences) - MOST_FAULTS} more."]
    return InvalidRequestError(" ".join(sentences), _code(faults[0]))


def _without_repeated(faults: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The faults without "too short" for lists whose items are invalid."""
    others = {fault["loc"][:1] for fault in faults if fault["type"] != "too_short"}
    return [
        fault for fault in faults if fault["type"] != "too_short" or fault["loc"][:1] not in others
    ]


def _sentence(model: type[BaseModel], fault: Mapping[str, Any]) -> str:
    context = fault.get("ctx", {})
    if isinstance(cause := context.get("error"), FaultError):
        return str(cause)
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] in ("extra_forbidden", "invalid_key") or not fault["loc"]:  # a key's
        known = ", ".join(model.model_fields)
        option = name if fault["type"] == "extra_forbidden" else fault["input"]
        return f"Unknown option {quote(option)}; the options are {known}."
    if fault["type"] == "missing":
        return f"{name!r} is missing; it is required."
    show = shown_uri if fault["loc"][0] in ("image", "images", "webhook") else quote
    return f"{name} is {show(fault['input'])}: {_remedy(fault, context)}."


def _remedy(fault: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    if fault["type"] in REMEDIES:
        return REMEDIES[fault["type"]].format_map(context)
    return str(fault["msg"][0].lower() + fault["msg"][1:])


def _code(fault: Mapping[str, Any]) -> str:
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, FaultError):
        return cause.code
    field = str(fault["loc"][0]) if fault["loc"] else ""
    return FIELD_CODES.get(field, InvalidRequestError.default_code)
