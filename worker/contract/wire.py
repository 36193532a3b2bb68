"""The base class of everything that crosses the queue."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """Frozen, and without fields that nobody knows."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_inf_nan="constants",
        hide_input_in_errors=True,  # a URI may hold a signature, and tracebacks are shown
    )
