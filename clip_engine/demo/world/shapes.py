"""Outlines of the demo's shapes, as polygons of about radius 1.

Axes: x to the right, y down, as in a picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Outline = NDArray[np.float64]  # [P corners, 2], x and y

_ARC_POINTS: Final = 64


def outline(shape: str) -> Outline:
    """The polygon of a shape.

    Args:
        shape: One of `scenes.SHAPES`.

    Returns:
        Corners in order, float64 [P, 2], upright, none further than 1.2
        from the middle.

    Raises:
        KeyError: If there is no such shape.
    """
    return _OUTLINES[shape]()


def _polar(radii: NDArray[np.float64], degrees: NDArray[np.float64]) -> Outline:
    """Corners from polar coordinates; 0 degrees is up, clockwise."""
    angle = np.deg2rad(degrees)
    return np.stack([radii * np.sin(angle), -radii * np.cos(angle)], axis=1)


def _regular(corners: int, turn: float = 0.0, radius: float = 1.0) -> Outline:
    degrees = turn + np.arange(corners, dtype=np.float64) * 360.0 / corners
    return _polar(np.full(corners, radius), degrees)


def _circle() -> Outline:
    return _regular(_ARC_POINTS, radius=0.9)


def _square() -> Outline:
    return _regular(4, turn=45.0, radius=1.1)


def _triangle() -> Outline:
    corners = _regular(3, radius=1.08)
    corners[:, 1] += 0.18  # its middle in height, not its centroid, to the centre
    return corners


def _star() -> Outline:
    radii = np.tile([1.05, 0.46], 5)
    return _polar(radii, np.arange(10, dtype=np.float64) * 36.0)


def _heart() -> Outline:
    t = np.linspace(0.0, 2 * np.pi, _ARC_POINTS, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x / 16.5, (y - 2.5) / 16.5], axis=1)


def _cross() -> Outline:
    arm, reach = 0.33, 0.95
    quarter = np.array([[-arm, -reach], [arm, -reach], [arm, -arm]])
    quarter_turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    powers = [np.linalg.matrix_power(quarter_turn, turns) for turns in range(4)]
    return np.concatenate([quarter @ power for power in powers])


def _diamond() -> Outline:
    corners = _regular(4)
    return np.stack([corners[:, 0] * 0.68, corners[:, 1] * 1.05], axis=1)


def _moon() -> Outline:
    """A crescent: the long way round one circle, and back along a second that bites into it."""
    centre, bite = np.array([0.15, 0.0]), np.array([0.55, 0.0])
    outer = centre + _polar(np.full(_ARC_POINTS, 1.0), np.linspace(140.0, 400.0, _ARC_POINTS))
    x, y = outer[-1] - bite
    tip = float(np.rad2deg(np.arctan2(x, -y)))
    back = np.linspace(360.0 + tip, 180.0 - tip, _ARC_POINTS)
    return np.concatenate([outer, bite + _polar(np.full(_ARC_POINTS, np.hypot(x, y)), back)])


_OUTLINES: Final[dict[str, Callable[[], Outline]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "diamond": _diamond,
    "moon": _moon,
}
