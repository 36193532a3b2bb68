"""An image that a feed yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Item:
    """An image that a feed yields.

    Attributes:
        key: Identifies the image within the run: two items with the same key are the same image,
            and get one row.
        image: URI that a worker fetches; for a local file its path, as it is shown.
        path: The local file, which is uploaded; None if the workers fetch `image`.
        fields: Further columns of its row in the input, which sinks repeat.
        position: Where the feed continues after this item, as `Feed.items` takes it.
        fault: Why it can't be sent: what is wrong with its row in the input; it fails with
            `BAD_ROW`.
    """

    key: str
    image: str
    path: Path | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    position: str = ""
    fault: str = ""
