"""Which names are those of images, and which of files that are still being written."""

from __future__ import annotations

from pathlib import PurePath

# Common suffixes of the formats that a worker decodes.
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".ico"),
    }
)


def is_image_file(name: str) -> bool:
    """Whether a file is an image by its name; hidden files and backups are not images.

    Programs that write a file under a temporary name rename it when it is complete: `.part`,
    `.tmp` and `.crdownload` are no suffixes of images.

    >>> is_image_file("cat.JPG"), is_image_file("cat.jpg.part"), is_image_file(".cat.jpg")
    (True, False, False)
    """
    return not name.startswith((".", "~")) and PurePath(name).suffix.lower() in SUFFIXES


def is_image_object(key: str) -> bool:
    """Whether an object of a bucket may be an image: names without a suffix are common there.

    >>> is_image_object("pets/3fa85f64"), is_image_object("pets/"), is_image_object("pets/a.txt")
    (True, False, False)
    """
    name = key.rpartition("/")[2]
    return is_image_file(name) or bool(name and not PurePath(name).suffix)
