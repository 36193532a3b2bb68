"""Finds the images that the arguments of `classify` name: paths, folders, globs and URIs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from clip_worker.contract.text import decoded
from clip_worker.contract.uri import scheme_of, validate_uri
from clip_worker.errors import InvalidRequestError
from clip_worker.feeds.file_names import SUFFIXES, is_image_file
from clip_worker.feeds.folder_feed import shown_path
from clip_worker.quoting import quote
from worker.cli.output.usage_error import WrongInputError
from worker.variables import OBJECT_STORE_SCHEMES

SCHEMES = ("http", "https", *OBJECT_STORE_SCHEMES, "data", "file", "redis")


@dataclass(frozen=True, slots=True)
class ImageArgument:
    """An image named on the command line.

    Attributes:
        name: As given or found, in characters that can be printed as JSON.
        path: Path of the local file; None if `name` is a URI that the worker fetches.
    """

    name: str
    path: Path | None = None


def find_images(arguments: Iterable[str]) -> list[ImageArgument]:
    """Find the images that the arguments name, in order.

    An argument is the path of a file, or of a folder, which is searched recursively for files with
    an image's suffix, sorted by name; else a URI; else a glob that the shell has not expanded.

    Raises:
        WrongInputError: An argument names no image.
    """
    return [image for argument in arguments for image in _expand(argument)]


def _expand(argument: str) -> Iterator[ImageArgument]:
    if os.path.lexists(argument):
        yield from _at_path(argument)
    elif _looks_like_uri(argument):
        yield ImageArgument(_checked_uri(decoded(argument) or argument))
    elif glob.has_magic(argument):
        yield from _matching(argument)
    else:
        raise WrongInputError(
            f"There is no file {quote(argument)}; give a file, a folder, a glob or a URL."
        )


def _at_path(path: str) -> Iterator[ImageArgument]:
    if not os.path.isdir(path):  # noqa: PTH112  # a str keeps './' and bytes that are not UTF-8
        yield ImageArgument(shown_path(path), Path(path))
        return
    found = False
    for image in _below(path):
        found = True
        yield image
    if not found:
        raise WrongInputError(
            f"The folder {quote(path)} has no images: neither it nor a folder below it has a file "
            f"that ends in {', '.join(sorted(SUFFIXES))}."
        )


def _below(folder: str) -> Iterator[ImageArgument]:
    for here, folders, files in os.walk(folder, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if is_image_file(name):
                path = os.path.join(here, name)  # noqa: PTH118  # as above
                yield ImageArgument(shown_path(path), Path(path))


def _refuse_folder(error: OSError) -> NoReturn:
    raise WrongInputError(
        f"The folder {quote(error.filename)} can't be read: {error.strerror}."
    ) from error


def _matching(pattern: str) -> Iterator[ImageArgument]:
    paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # as above
    if not paths:
        raise WrongInputError(f"No file matches {quote(pattern)}.")
    for path in paths:
        yield from _at_path(path)


def _looks_like_uri(argument: str) -> bool:
    try:
        scheme_of(argument)
    except InvalidRequestError:
        return False
    return True


def _checked_uri(argument: str) -> str:
    uri = validate_uri(argument)
    if scheme_of(uri) not in SCHEMES:
        raise WrongInputError(
            f"{quote(argument)} has the scheme {scheme_of(uri)!r}, which workers don't support; "
            f"use one of {', '.join(SCHEMES)}, or a path."
        )
    return uri
