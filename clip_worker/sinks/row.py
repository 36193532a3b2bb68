"""An image that has its result, as sinks store it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_worker.contract.results import Outcome
    from clip_worker.feeds.item import Item


@dataclass(frozen=True, slots=True)
class Row:
    """An item and its outcome.

    Attributes:
        item: The image.
        outcome: Its result, or why it failed.
        ended_at: Unix time in seconds.
    """

    item: Item
    outcome: Outcome
    ended_at: float = field(default_factory=time.time)
