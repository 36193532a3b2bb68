"""Label lists: real words, and as many different ones as are asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

ADJECTIVES = (
    "red", "blue", "old", "small", "wooden", "broken", "striped", "wet", "golden", "empty",
    "quiet", "narrow", "painted", "frozen", "round", "rusty", "tall", "soft", "bright", "grey",
)  # fmt: skip
NOUNS = (
    "cat", "dog", "bicycle", "harbour", "bridge", "apple", "violin", "lighthouse", "tractor",
    "umbrella", "teapot", "mountain", "sparrow", "keyboard", "waterfall", "train", "castle",
    "sunflower", "sailing boat", "fire engine", "market stall", "zebra", "candle", "snowman",
    "windmill", "elephant", "guitar", "notebook", "pizza", "camera", "tent", "owl", "pier",
    "staircase", "helicopter", "mushroom", "statue", "canoe", "lantern", "carpet",
)  # fmt: skip
PLACES = (
    "", " at night", " in the rain", " on a table", " by the sea", " in a garden", " in the snow",
    " in a museum", " under a tree", " on a street", " in a window", " near a river",
)  # fmt: skip


SHARED = 100_000  # labels that a list for all may have; those for one task come after


def label_list(count: int) -> list[str]:
    """The first `count` labels, two to eight words each: "red cat", "red dog" and so on."""
    return list(itertools.islice(_labels(), count))


def own_lists(count: int) -> Iterator[list[str]]:
    """Lists of `count` labels, without end; each label is in one of them, and in no shared one."""
    labels = itertools.islice(_labels(), SHARED, None)
    while found := list(itertools.islice(labels, count)):
        yield found


def _labels() -> Iterator[str]:
    for number, place, adjective, noun in itertools.product(
        range(1, 200), PLACES, ADJECTIVES, NOUNS
    ):
        yield (
            f"{adjective} {noun}{place}" if number == 1 else f"{number} {adjective} {noun}s{place}"
        )
