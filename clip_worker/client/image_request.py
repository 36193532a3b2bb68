"""What `Client.submit_many` takes for an image whose options differ from those of the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Required, TypedDict

from clip_worker.contract.option_types import Score


class ImageRequest(TypedDict, total=False):
    """An image and its own options; see `Client.classify` for their meaning.

    `image` is required. Options that are missing are those of the call.
    """

    image: Required[str]
    labels: Iterable[str]
    label_set: str
    k: int
    template: str
    templates: Iterable[str]
    ensemble: str
    score: Score
    none_of_these: bool
    threshold: float
    deadline: float
    return_embedding: bool
    result_ttl_s: float
    webhook: str
    task_id: str
