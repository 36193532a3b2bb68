"""Walks a folder for images, however large it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clip_worker.feeds.file_names import is_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def scan(folder: str, warn: Callable[[str, str], None]) -> Iterator[str]:
    """Yield the paths of files with an image's name, without following symbolic links.

    Args:
        folder: Where to begin.
        warn: Called with each folder or link that is skipped, and the reason.
    """
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            # A list, so that no folder is held open while the caller looks at a file.
            entries = list(os.scandir(here))
        except FileNotFoundError:
            continue  # deleted meanwhile
        except OSError as error:
            warn(here, f"can't be read: {error.strerror}")
            continue
        for entry in entries:
            if _is_folder(entry):
                waiting.append(entry.path)
            elif is_image_file(entry.name):
                yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
