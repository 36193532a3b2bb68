"""What is asked again and again is validated once.

A web backend sends one picture after the other with the same labels. To check these, and to write
them, takes most of the time that a message takes on either side, so the last questions are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

from worker.contract import ClassifyRequest, parse
from worker.contract.uri import validate_uri

Kept = TypeVar("Kept")

MOST_KEPT = 32
MOST_CHARACTERS = 100_000  # of a question that is kept: some thousand labels


class Questions(Generic[Kept]):
    """Reads the arguments of `clip.classify`. Threads may share it.

    Args:
        keep: What is made of a request, and kept for others that ask the same of other pictures.
    """

    def __init__(self, keep: Callable[[ClassifyRequest], Kept]) -> None:
        self._keep = keep
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, asked: Mapping[str, Any]) -> tuple[Kept, str]:
        """What is made of the question, and the picture's URI.

        Args:
            asked: By the names of `worker.contract.ClassifyRequest`.

        Raises:
            InvalidRequestError: Something in it is wrong.
        """
        image, key = asked.get("image"), _key(asked)
        if isinstance(image, str) and (known := self._known(key)) is not None:
            return known, validate_uri(image)
        request = parse(ClassifyRequest, asked)
        made = self._keep(request)
        if key is not None and _characters(request) <= MOST_CHARACTERS:
            self._put(key, made)
        return made, request.image

    def _known(self, key: Hashable) -> Kept | None:
        with self._lock:
            if key is None or key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def _put(self, key: Hashable, made: Kept) -> None:
        with self._lock:
            self._kept[key] = made
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)


def _characters(request: ClassifyRequest) -> int:
    return sum(map(len, (*(request.labels or ()), *(request.templates or ()))))


def _key(asked: Mapping[str, Any]) -> Hashable | None:
    """Two questions' are equal only if they ask the same, whichever pictures they are about.

    None for a question that holds what it should not, or what is not looked into here; and for one
    with a deadline, which hardly comes again.
    """
    parts: list[Hashable] = []
    for name, value in asked.items():
        if name == "image":
            continue
        if name == "deadline":
            return None
        if type(value) in (list, tuple):
            if not all(type(item) is str for item in value):
                return None
            parts.append((name, tuple(value)))
        elif type(value) in (str, int, float, bool):
            parts.append((name, type(value), value))  # for True == 1 == 1.0
        else:
            return None
    return frozenset(parts)
