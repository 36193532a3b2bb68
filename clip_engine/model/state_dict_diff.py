"""Describes how a checkpoint's weights differ from those that a model needs."""

from __future__ import annotations

from collections.abc import Iterable

MOST_LISTED = 5  # names of each kind


def name_problems(
    missing: Iterable[str], unexpected: Iterable[str], wrong_shapes: Iterable[str] = ()
) -> str:
    """The number and the first names of each kind of problem; "" if there are none.

    >>> name_problems(["b", "a"], [])
    '2 missing (a, b)'
    """
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrong shapes", wrong_shapes))
    return "; ".join(filter(None, (_list(title, sorted(names)) for title, names in kinds)))


def _list(title: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return f"{len(names)} {title} ({', '.join(names[:MOST_LISTED])}{more})"
