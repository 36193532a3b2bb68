"""What a model that costs nothing answers; the same for every contender."""

from __future__ import annotations

from typing import Any


def answer(image: str, labels: list[str], k: int) -> dict[str, Any]:
    """The first k labels, with made-up probabilities."""
    predictions = [
        {"label": label, "probability": 0.5**i, "index": i} for i, label in enumerate(labels[:k])
    ]
    return {"predictions": predictions, "model": "no-op", "image": image}
