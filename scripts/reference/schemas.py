"""JSON Schemas of what crosses the queue, and of what sinks store."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from clip_worker.contract import requests, results, search
from clip_worker.contract.results import Wire
from clip_worker.sinks import record
from reference.docstring import described


def table(name: str) -> str:
    """Return the JSON Schema of a model, with its docstrings as descriptions."""
    models = vars(requests) | vars(results) | vars(search) | vars(record)
    model = models[name]
    mode = "validation" if name.endswith("Request") else "serialization"
    schema = model.model_json_schema(mode=mode)
    for each, part in [(name, schema), *schema.get("$defs", {}).items()]:
        _describe(models[each], part)
    return f"```json\n{json.dumps(schema, indent=2)}\n```"


def _describe(model: type[BaseModel], schema: dict[str, Any]) -> None:
    schema["description"] = described(model.__doc__ or "")[0]
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Wire):
            texts |= described(base.__doc__ or "")[1]
    for name, part in schema.get("properties", {}).items():
        part.pop("title", None)
        if name in texts:
            part["description"] = texts[name]
