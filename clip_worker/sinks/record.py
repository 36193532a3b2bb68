"""The record of an image and its result: what every sink stores."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Literal, Self

from clip_worker.contract.results import Failure, Prediction, UsedLabelSet, Wire

if TYPE_CHECKING:
    from clip_worker.sinks.row import Row


class Record(Wire):
    """What sinks store of an image. Fields that are None are left out.

    Attributes:
        key: Identifies the image within the run.
        image: The image's URI or path, as the run got it; a query with a signature included.
        status: Whether it was classified.
        label: The best label.
        probability: The best label's.
        predictions: The labels that fit, the best first.
        none_of_these: The probability that no label fits, if it was asked for.
        label_set: The stored label set, if the run named one.
        levels: Of a hierarchical label set: for each depth, beginning with the broadest, the most
            probable nodes.
        model: Name of the model.
        model_digest: SHA-256 of its checkpoint.
        embedding: The image's normalised feature, if it was asked for.
        error: Why it was not classified.
        fields: The other columns of its row in the input.
        ended_at: When its result arrived, in UTC.
    """

    key: str
    image: str
    status: Literal["ok", "error"]
    label: str | None = None
    probability: float | None = None
    predictions: tuple[Prediction, ...] | None = None
    none_of_these: float | None = None
    label_set: UsedLabelSet | None = None
    levels: tuple[tuple[Prediction, ...], ...] | None = None
    model: str | None = None
    model_digest: str | None = None
    embedding: tuple[float, ...] | None = None
    error: Failure | None = None
    fields: dict[str, Any]
    ended_at: datetime

    @classmethod
    def of(cls, row: Row) -> Self:
        """The record of a row."""
        result = row.outcome.result
        best = result.predictions[0] if result and result.predictions else None
        return cls(
            key=clean_text(row.item.key),
            image=clean_text(row.item.image),
            status=row.outcome.status,
            label=clean_text(best.label) if best else None,
            probability=best.probability if best else None,
            predictions=_clean(result.predictions) if result else None,
            none_of_these=result.none_of_these if result else None,
            label_set=result.label_set if result else None,
            levels=tuple(map(_clean, result.levels)) if result and result.levels else None,
            model=result.model if result else None,
            model_digest=result.model_digest if result else None,
            embedding=result.embedding if result else None,
            error=row.outcome.error,
            fields=plain_value(row.item.fields),
            ended_at=datetime.fromtimestamp(row.ended_at, UTC),
        )


def record(row: Row) -> dict[str, Any]:
    """The record of a row, with nothing in it but what JSON can hold."""
    return Record.of(row).model_dump(mode="json", exclude_none=True)


def record_json(row: Row) -> str:
    """The record of a row, as JSON in one line."""
    return Record.of(row).model_dump_json(exclude_none=True)


def _clean(predictions: tuple[Prediction, ...]) -> tuple[Prediction, ...]:
    return tuple(
        each.model_copy(update={"label": clean_text(each.label)}) if "\0" in each.label else each
        for each in predictions
    )


def clean_text(text: str) -> str:
    r"""A text that every sink can store: without NUL, which PostgreSQL refuses, and surrogates.

    >>> clean_text("a\0b \ud83d")
    'a\ufffdb \\ud83d'
    """
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def plain_value(value: Any) -> Any:  # noqa: PLR0911  # one line a kind
    """A value of the input's row as JSON can hold it.

    >>> plain_value({"seen": date(2026, 11, 27), "ratio": float("nan"), "tags": ("a", b"b")})
    {'seen': '2026-11-27', 'ratio': None, 'tags': ['a', 'Yg==']}

    Args:
        value: From CSV, JSON or Parquet. Dates become text in ISO 8601, bytes base64, numbers that
            are not finite None, and what JSON does not know its `str`.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_text(str(name)): plain_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(each) for each in value]
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return clean_text(str(value))
