"""Keywords for photo software, in a sidecar of XMP."""

from __future__ import annotations

from pathlib import Path

from clip_worker.sinks.row import Row
from clip_worker.sinks.xmp import EMPTY, with_keywords

DEFAULT_THRESHOLD = 0.5


class XmpSidecar:
    """The likely labels of an image as keywords, in `cat.xmp` beside `cat.jpg`.

    Keywords are only added: what people and other programs wrote stays, as do the labels of earlier
    runs. An image without likely labels gets no file.

    Args:
        threshold: Least probability of a label, 0 to 1.
    """

    def __init__(self, threshold: float = DEFAULT_THRESHOLD) -> None:
        self._threshold = threshold

    def path_of(self, image: Path) -> Path:
        """See `Sidecar.path_of`."""
        return image.with_suffix(".xmp")

    def content(self, row: Row, existing: bytes | None) -> bytes | None:
        """See `Sidecar.content`."""
        result = row.outcome.result
        labels = [
            each.label
            for each in (result.predictions if result else ())
            if each.probability >= self._threshold
        ]
        return with_keywords(EMPTY if existing is None else existing, labels) if labels else None
