"""Lists that are written `a,b,c`."""

from __future__ import annotations

from pydantic import BeforeValidator


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


COMMAS = BeforeValidator(_split)  # beside pydantic_settings' NoDecode in a field's annotation
