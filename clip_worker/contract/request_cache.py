"""A cache of validated requests, so that the same labels are not validated for every image.

A web backend sends one image after another with the same labels. Validating and encoding them is
most of the work for a message, in the client and in the worker.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from clip_worker.contract import ClassifyRequest, parse
from clip_worker.contract.uri import validate_uri
from clip_worker.contract.webhooks import validate_webhook

Kept = TypeVar("Kept")

MOST_KEPT = 1024  # requests
MOST_CHARACTERS = 100_000  # per cached request: a few thousand labels
MOST_CHARACTERS_IN_ALL = 4_000_000
OWN = ("image", "webhook")  # arguments that may differ from message to message


class ReadRequest(NamedTuple, Generic[Kept]):
    """A request that was read.

    Attributes:
        kept: What `keep` returned for it.
        image: The image's URI.
        webhook: The webhook's URL, if there is one.
    """

    kept: Kept
    image: str
    webhook: str | None


class RequestCache(Generic[Kept]):
    """Parses the arguments of `clip.classify`. Thread-safe.

    Args:
        keep: Converts a request to what is cached, for requests that differ only in the image and
            the webhook.
    """

    def __init__(self, keep: Callable[[ClassifyRequest], Kept]) -> None:
        self._keep = keep
        self._kept: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()  # and its characters
        self._characters = 0
        self._lock = threading.Lock()

    def read(self, arguments: Mapping[str, Any]) -> ReadRequest[Kept]:
        """What `keep` returned for a request, and what is not cached.

        Args:
            arguments: Arguments of `clip_worker.contract.ClassifyRequest`.

        Raises:
            InvalidRequestError: The request is invalid.
        """
        image, webhook = (arguments.get(name) for name in OWN)
        key = _key(arguments)
        if (
            isinstance(image, str)
            and isinstance(webhook, str | None)
            and (known := self._known(key)) is not None
        ):
            return ReadRequest(known, validate_uri(image), webhook and validate_webhook(webhook))
        request = parse(ClassifyRequest, arguments)
        made = self._keep(request.model_copy(update={"webhook": None}))
        characters = _characters(request)
        if key is not None and characters <= MOST_CHARACTERS:
            self._put(key, made, characters)
        return ReadRequest(made, request.image, request.webhook)

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


def _key(arguments: Mapping[str, Any]) -> Hashable | None:
    """A key that is equal for two requests only if they differ in nothing but `OWN`.

    None for arguments of unexpected types, and for a request with a deadline, which is unlikely to
    be repeated.
    """
    parts: list[Hashable] = []
    for name, value in arguments.items():
        if name in OWN:
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
