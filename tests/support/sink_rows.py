"""Rows for sinks, as a run makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_worker.contract.results import Classification, Failure, Outcome, Prediction, Timing
from clip_worker.feeds.item import Item
from clip_worker.sinks.row import Row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENDED_AT = 1_764_263_532.25  # 2025-11-27T17:12:12.250Z
TIMING = Timing(
    queue=0.1, labels=0, fetch=0, decode=0, batch_wait=0, forward=0, score=0, batch_size=1
)


def row(
    number: int = 0,
    *,
    label: str = "cat",
    probability: float = 0.75,
    folder: Path | None = None,
    fields: Mapping[str, Any] | None = None,
    **result: Any,
) -> Row:
    """The row of a picture that shows a cat, or a `label`, and less probably a dog.

    With a folder the picture is a local file there.
    """
    best = Prediction(label=label, probability=probability, index=0)
    other = Prediction(label="dog", probability=round(1 - probability, 6), index=1)
    outcome = Outcome(
        status="ok",
        result=Classification(
            predictions=(best, other), model="tiny", model_digest="ab" * 32, timing=TIMING, **result
        ),
    )
    return Row(_item(number, folder, fields or {"number": number}), outcome, ENDED_AT)


def failed_row(number: int = 0, folder: Path | None = None) -> Row:
    """The row of a picture that was not found."""
    error = Failure(type="ImageUnavailableError", code="FETCH_404", message="The server said 404.")
    return Row(_item(number, folder, {}), Outcome(status="error", error=error), ENDED_AT)


def _item(number: int, folder: Path | None, fields: Mapping[str, Any]) -> Item:
    name = f"photo-{number:06}.jpg"
    if folder is not None:
        return Item(key=name, image=str(folder / name), path=folder / name, fields=fields)
    return Item(key=name, image=f"https://example.com/{name}", fields=fields)
