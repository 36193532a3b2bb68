"""The schema of the tasks' results, as JSON: classifications and failures."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from clip_worker.errors import ClipWorkerError


class Wire(BaseModel):
    """Base class of requests and results: a frozen model that rejects unknown fields."""

    model_config = ConfigDict(
        protected_namespaces=(),  # pydantic before 2.10 warns about `model_digest`
        frozen=True,
        extra="forbid",
        ser_json_inf_nan="constants",
        hide_input_in_errors=True,  # tracebacks are logged, and a URI may contain a signature
    )


class Prediction(Wire):
    """A label, its softmax probability over all labels of the request, and its index in them."""

    label: str
    probability: float
    index: int


class Timing(Wire):
    """How long each stage took, in seconds; `queue` is None if the producer sent no time."""

    queue: float | None
    labels: float
    fetch: float
    decode: float
    batch_wait: float
    forward: float
    score: float
    batch_size: int


class Classification(Wire):
    """The result for one image, the most probable label first."""

    predictions: tuple[Prediction, ...]
    model: str
    model_digest: str
    timing: Timing
    embedding: tuple[float, ...] | None = None


class Failure(Wire):
    """Why one image of several has no result."""

    type: str
    code: str
    message: str

    @classmethod
    def of(cls, error: ClipWorkerError) -> Self:
        """Describe an error."""
        return cls(type=type(error).__name__, code=error.code, message=error.message)


class Outcome(Wire):
    """One image's part of a `clip.classify_many` result: a classification or a failure."""

    status: Literal["ok", "error"]
    result: Classification | None = None
    error: Failure | None = None
