"""A sequence in pieces. `itertools.batched` does the same from Python 3.12 on."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")


def chunks(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """`chunks("abcde", 2)` gives `("a", "b")`, `("c", "d")`, `("e",)`."""
    left = iter(items)
    while chunk := tuple(islice(left, size)):
        yield chunk
