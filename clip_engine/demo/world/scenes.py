"""The world of the demo model: every scene that can be drawn, and those that it never saw.

A scene has six attributes. Placement is one axis: a single object has a position, several objects
have a count, so the two never contradict each other. All values combine freely::

    8 placements x 3 sizes x 8 colours x 4 textures x 8 shapes x 6 backgrounds = 36,864 scenes

One in nine (colour, texture, shape) triples is held out of training as a whole: no picture of it
is drawn and no caption names it. Each pair of values still occurs in training, so a model that has
learnt what the words mean can read the new combination, and one that learnt by heart can't.
"""

from __future__ import annotations

import itertools
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

POSITIONS: Final = ("left", "right", "top", "bottom", "centre")
COUNTS: Final = ("two", "three", "four")
PLACEMENTS: Final = POSITIONS + COUNTS
SIZES: Final = ("small", "medium", "large")
COLOURS: Final = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
TEXTURES: Final = ("solid", "striped", "dotted", "hollow")
SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "moon")
BACKGROUNDS: Final = ("white", "black", "grey", "grass", "sand", "night sky")

HELD_OUT_MODULUS: Final = 9


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in one picture.

    Args:
        placement: Where the single object is, or how many objects there are; of `PLACEMENTS`.
        size: Of `SIZES`.
        colour: Of `COLOURS`.
        texture: Of `TEXTURES`.
        shape: Of `SHAPES`.
        background: Of `BACKGROUNDS`.

    Raises:
        ValueError: If a value is not one of its axis.
    """

    placement: str
    size: str
    colour: str
    texture: str
    shape: str
    background: str

    def __post_init__(self) -> None:
        for axis, value in zip(AXES, astuple(self), strict=True):
            if value not in VALUES[axis]:
                known = ", ".join(VALUES[axis])
                raise ValueError(f"no {axis} is called {value!r}; there are: {known}")

    @property
    def count(self) -> int:
        """Number of objects, 1 to 4."""
        return COUNTS.index(self.placement) + 2 if self.placement in COUNTS else 1

    @property
    def indices(self) -> tuple[int, ...]:
        """Place of each attribute's value on its axis, in the order of `AXES`."""
        return tuple(
            VALUES[axis].index(value) for axis, value in zip(AXES, astuple(self), strict=True)
        )

    @property
    def is_held_out(self) -> bool:
        """Whether its (colour, texture, shape) triple is kept out of training.

        The rule is a Latin-square one: of the four textures of a coloured shape, at most one is
        held out, so that every pair of attributes is still seen.
        """
        total = (
            COLOURS.index(self.colour) + SHAPES.index(self.shape) + 2 * TEXTURES.index(self.texture)
        )
        return total % HELD_OUT_MODULUS == 0


AXES: Final = tuple(field.name for field in fields(Scene))
VALUES: Final[dict[str, tuple[str, ...]]] = dict(
    zip(AXES, (PLACEMENTS, SIZES, COLOURS, TEXTURES, SHAPES, BACKGROUNDS), strict=True)
)


def all_scenes() -> Iterator[Scene]:
    """All 36,864 scenes, in the order of the axes, the last axis turning fastest."""
    return (Scene(*values) for values in itertools.product(*VALUES.values()))
