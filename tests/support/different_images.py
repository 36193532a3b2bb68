"""Small images unlike each other: tasks for the same image would share its preparation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

_SHADES: Final = 64


def different_images(folder: Path, count: int) -> list[str]:
    """Write red images, each in a shade of its own, below a folder.

    Args:
        folder: A folder `different` is made in it.
        count: How many; 4,096 at most.

    Returns:
        Their URIs.
    """
    assert count <= _SHADES**2
    (folder / "different").mkdir(exist_ok=True)
    paths = [folder / "different" / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        colour = (255 - number % _SHADES, number // _SHADES, 0)
        Image.new("RGB", (32, 32), colour).save(path)
    return [path.as_uri() for path in paths]
