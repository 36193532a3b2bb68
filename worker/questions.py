"""What a producer asks again and again is validated and written once.

A web backend sends one picture after the other with the same labels. To check and to write these
takes most of the time that a message takes, so the last questions are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

from worker.contract import ClassifyRequest, parse
from worker.message import Arguments, WrittenQuestion
from worker.sources.uri import validate_uri

MOST_KEPT = 32
MOST_CHARACTERS = 100_000  # of a question that is kept: some thousand labels


class Questions:
    """Writes the arguments of `clip.classify`. Threads may share it."""

    def __init__(self) -> None:
        self._written: OrderedDict[Hashable, WrittenQuestion] = OrderedDict()
        self._lock = threading.Lock()

    def about(self, asked: Mapping[str, Any]) -> Arguments:
        """The arguments that ask something about one picture.

        Args:
            asked: By the names of `worker.contract.ClassifyRequest`.

        Raises:
            InvalidRequestError: Something in it is wrong.
        """
        image = asked.get("image")
        key = _key(asked)
        if isinstance(image, str) and (known := self._known(key)):
            return known.about(validate_uri(image))
        request = parse(ClassifyRequest, asked)
        written = WrittenQuestion(request)
        if key is not None and len(written) <= MOST_CHARACTERS:
            self._keep(key, written)
        return written.about(request.image)

    def _known(self, key: Hashable) -> WrittenQuestion | None:
        with self._lock:
            if key is None or key not in self._written:
                return None
            self._written.move_to_end(key)
            return self._written[key]

    def _keep(self, key: Hashable, written: WrittenQuestion) -> None:
        with self._lock:
            self._written[key] = written
            if len(self._written) > MOST_KEPT:
                self._written.popitem(last=False)


def _key(asked: Mapping[str, Any]) -> Hashable | None:
    """Two questions' are equal only if they ask the same, whichever pictures they are about.

    None for a question that holds what it should not, or what is not looked into here.
    """
    parts: list[Hashable] = []
    for name, value in asked.items():
        if name == "image":
            continue
        if type(value) in (list, tuple):
            if not all(type(item) is str for item in value):
                return None
            parts.append((name, tuple(value)))
        elif type(value) in (str, int, float, bool):
            parts.append((name, type(value), value))  # for True == 1 == 1.0
        else:
            return None
    return frozenset(parts)
