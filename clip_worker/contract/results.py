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
    """A label that fits an image, or a node of a hierarchical label set.

    Attributes:
        label: As in the request; of a node its path, such as `animal > dog`.
        probability: Softmax over all labels of the request; for the score `sigmoid` its sigmoid.
        index: Position in the request's labels, or of a node among those of its level.
        score: The cosine or logit, where that was asked for.
    """

    label: str
    probability: float
    index: int
    score: float | None = None


class UsedLabelSet(Wire):
    """The stored label set that an image was classified with.

    Attributes:
        name: The set and the number of its version, such as `animals@3`, which a request may say to
            get the same labels again; of a set without numbers its name alone.
        version: As `Client.put_label_set` returned it.
        calibration: The id of the calibration that was applied; None if there was none.
    """

    name: str
    version: str
    calibration: str | None


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
    """The result for one image, the best label first.

    Attributes:
        predictions: At most K.
        model: Name of the model.
        model_digest: SHA-256 of its checkpoint.
        timing: How long it took.
        embedding: The image's normalised feature, if it was asked for.
        none_of_these: The probability that no label fits, if it was asked for.
        label_set: The label set, if the request named one.
        levels: Of a hierarchical label set: for each depth, beginning with the broadest, the K most
            probable nodes.
        embedding_from: `store` if the image's embedding was stored, so that it was not decoded.
    """

    predictions: tuple[Prediction, ...]
    model: str
    model_digest: str
    timing: Timing
    embedding: tuple[float, ...] | None = None
    none_of_these: float | None = None
    label_set: UsedLabelSet | None = None
    levels: tuple[tuple[Prediction, ...], ...] | None = None
    embedding_from: Literal["store"] | None = None


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
