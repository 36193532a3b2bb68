"""The base class of requests and results."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """A frozen model that rejects unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_inf_nan="constants",
        hide_input_in_errors=True,  # tracebacks are logged, and a URI may contain a signature
    )
