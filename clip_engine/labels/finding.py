"""What a check finds about a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["blank", "path", "wording", "duplicate", "too-long", "near-synonym"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a label that would spoil its results.

    Attributes:
        index: The label's position in the list.
        kind: What it is.
        reason: Why it is reported: the rest of a sentence whose subject is the label. If there is
            an `other`, it ends where that one has to be named.
        suggestion: What to do, as an imperative.
        other: Position of the earlier label that it collides with, if there is one.
        share: For near-synonyms, the part of their common probability, in [0, 0.5], that the one
            gets from a picture whose feature is exactly the other's.
    """

    index: int
    kind: Kind
    reason: str
    suggestion: str
    other: int | None = None
    share: float | None = None
