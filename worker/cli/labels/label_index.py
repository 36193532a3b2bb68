"""Finds labels by what people write in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

from clip_worker.contract.label_sets import SEPARATOR
from clip_worker.quoting import quote

NONE = -1
MOST_COMPARED = 5000  # labels that a misspelling is compared with; it takes milliseconds a thousand


class LabelIndex:
    """The positions of labels. A path is also found by its last name, if that is only once there.

    >>> index = LabelIndex(["animal > cat", "car"], hierarchical=True)
    >>> index.find("animal>cat"), index.find("cat"), index.find("car"), index.find("")
    (0, 0, 1, -1)

    Args:
        labels: All different.
        hierarchical: Whether they are paths.
    """

    def __init__(self, labels: Sequence[str], *, hierarchical: bool = False) -> None:
        self._hierarchical = hierarchical
        self._labels = labels
        self._index = {label: position for position, label in enumerate(labels)}
        if hierarchical:
            last = [label.split(SEPARATOR)[-1].strip() for label in labels]
            times = Counter(last)
            for position, name in enumerate(last):
                if times[name] == 1:
                    self._index.setdefault(name, position)

    def find(self, written: str) -> int | None:
        """A label's position; -1 for an empty text, None if there is no such label."""
        if not written:
            return NONE
        if self._hierarchical:
            parts = (part.strip() for part in written.split(SEPARATOR))
            written = f" {SEPARATOR} ".join(parts)
        return self._index.get(written)

    def unknown(self, written: str) -> str:
        """A sentence about a label that is not there."""
        folded = written.casefold()
        near = [label for label in self._labels if label.casefold() == folded]
        if not near and len(self._labels) <= MOST_COMPARED:
            near = get_close_matches(written, self._labels, n=1)
        hint = f"did you mean {quote(near[0])}?" if near else "leave it empty for none of these."
        return f"there is no label {quote(written)}; {hint}"
