"""A cache of validated requests: one that comes again is not validated again.

A web backend sends one image after another with the same labels. Validating and encoding them takes
most of the time that a message takes, in the client and in the worker.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

from worker.contract import ClassifyRequest, parse
from worker.contract.uri import validate_uri

Kept = TypeVar("Kept")

MOST_KEPT = 1024  # requests
MOST_CHARACTERS = 100_000  # of one that is kept: some thousand labels
MOST_CHARACTERS_IN_ALL = 4_000_000


class RequestCache(Generic[Kept]):
    """Reads the arguments of `clip.classify`. Threads may share it.

    Args:
        keep: Makes what is kept of a request, for others that ask the same about other images.
    """

    def __init__(self, keep: Callable[[ClassifyRequest], Kept]) -> None:
        self._keep = keep
        self._kept: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()  # and its characters
        self._characters = 0
        self._lock = threading.Lock()

    def read(self, asked: Mapping[str, Any]) -> tuple[Kept, str]:
        """What is kept of a request, and the image's URI.

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
        characters = _characters(request)
        if key is not None and characters <= MOST_CHARACTERS:
            self._put(key, made, characters)
        return made, request.image

    def _known(self, key: Hashable) -> Kept | None:
        with self._lock:
            if key is None or key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def _put(self, key: Hashable, made: Kept, characters: int) -> None:
        with self._lock:
            _, before = self._kept.get(key, (None, 0))  # another thread may have been faster
            self._kept[key] = (made, characters)
            self._characters += characters - before
            while len(self._kept) > MOST_KEPT or self._characters > MOST_CHARACTERS_IN_ALL:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._characters -= dropped


def _characters(request: ClassifyRequest) -> int:
    return sum(map(len, (*(request.labels or ()), *(request.templates or ()))))


def _key(asked: Mapping[str, Any]) -> Hashable | None:
    """Two keys are equal only if the requests ask the same, about whichever images.

    None for a request that holds what it should not, or what is not looked into here; and for one
    with a deadline, which hardly comes again.
    """
    parts: list[Hashable] = []
    for name, value in asked.items():
        if name == "image":
            continue
        if name == "deadline":
            return None
        if type(value) in (list, tuple):
            if not set(map(type, value)) <= {str}:
                return None
            parts.append((name, tuple(value)))
        elif type(value) in (str, int, float, bool):
            parts.append((name, type(value), value))  # for True == 1 == 1.0
        else:
            return None
    return frozenset(parts)
