"""The sample of the user's images that `tune` measures with."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

from worker.cli.classify.image_arguments import find_images

SEED = 20_260_101  # so that two runs take the same images


def sample_images(folder: Path, most: int) -> tuple[list[str], int]:
    """Choose images of a folder and the folders below it.

    Returns:
        `file:` URIs of at most `most` images in random order, and how many images there are.

    Raises:
        WrongInputError: There are none, or a folder can't be read.
    """
    paths = [image.path for image in find_images([str(folder)]) if image.path is not None]
    chosen = spread(sorted(paths, key=_size_bytes), most)
    random.Random(SEED).shuffle(chosen)  # noqa: S311  # not for secrets
    return [path.absolute().as_uri() for path in chosen], len(paths)


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """One path at random out of each of `most` parts of equal length, or all if there are fewer.

    So a sample of paths that are sorted by size has small and large ones as the whole has.
    """
    if len(paths) <= most:
        return list(paths)
    draw = random.Random(SEED)  # noqa: S311  # not for secrets
    edges = [len(paths) * part // most for part in range(most + 1)]
    return [paths[draw.randrange(*between)] for between in itertools.pairwise(edges)]


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a broken link: reading it will fail, and it is counted then
        return 0
