"""The images of a folder, or of a glob, in a fixed order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from clip_worker.contract.text import decoded
from clip_worker.errors import ServiceError
from clip_worker.feeds.file_names import is_image_file
from clip_worker.feeds.item import Item
from clip_worker.quoting import quote


class FolderFeed:
    """The images of a folder and of those below it; hidden ones and links to folders are not read.

    Files come before folders, and both are sorted by their names. A position is the path of an
    image, so it stays valid if images are added or removed.

    Args:
        folder: Its path.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @cached_property
    def total(self) -> int:
        """How many images there are, found by walking through the folder."""
        return sum(1 for _ in images_below(self._folder))

    def items(self, position: str | None) -> Iterator[Item]:
        """See `Feed.items`."""
        after = None if position is None else _order(os.fsdecode(bytes.fromhex(position)))
        for path in images_below(self._folder):
            if after is None or _order(path) > after:
                yield file_item(path)


class GlobFeed:
    """The files that match a glob, sorted; their paths are in memory.

    Args:
        pattern: As for `glob.glob`, with `**` for any folders.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    @property
    def total(self) -> int:
        """How many files match."""
        return len(self._paths)

    def items(self, position: str | None) -> Iterator[Item]:
        """See `Feed.items`."""
        after = None if position is None else os.fsdecode(bytes.fromhex(position))
        return (file_item(path) for path in self._paths if after is None or path > after)

    @cached_property
    def _paths(self) -> list[str]:
        found = glob.iglob(self._pattern, recursive=True)  # noqa: PTH207  # keeps './' and bytes
        # Two `**` may match a path in several ways.
        return sorted({path for path in found if os.path.isfile(path)})  # noqa: PTH113  # a str may hold any bytes


def images_below(folder: str) -> Iterator[str]:
    """Yield the paths of the images in a folder and below it, in the order of `FolderFeed`.

    Raises:
        ServiceError: `FEED_FAILED`: a folder can't be read.
    """
    for here, folders, files in os.walk(folder, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(filter(is_image_file, files)):
            yield os.path.join(here, name)  # noqa: PTH118  # a str keeps './' and bytes


def file_item(path: str) -> Item:
    """A local file as an item; its path need not be valid UTF-8."""
    shown = shown_path(path)
    return Item(path, shown, Path(path), position=os.fsencode(path).hex())


def shown_path(path: str) -> str:
    """A path as text, with bytes that are not UTF-8 replaced."""
    return decoded(path) or os.fsencode(path).decode(errors="replace")


def _order(path: str) -> list[tuple[bool, str]]:
    *folders, name = Path(path).parts
    return [*((True, folder) for folder in folders), (False, name)]


def _refuse_folder(error: OSError) -> NoReturn:
    raise ServiceError(
        f"The folder {quote(error.filename)} can't be read: {error.strerror}; change its rights, "
        "or name another one.",
        "FEED_FAILED",
    ) from error
