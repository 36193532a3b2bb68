"""Finds the images that the arguments of `classify` name: paths, folders, globs and URIs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from worker.cli.output.usage_error import WrongInputError
from worker.contract.text import decoded
from worker.contract.uri import scheme_of, validate_uri
from worker.errors import InvalidRequestError
from worker.quoting import quote
from worker.settings import Settings

# What a worker decodes, by the suffixes that such files commonly have.
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".ico"),
    }
)
SCHEMES = (
    "http",
    "https",
    *Settings.model_fields["object_store_schemes"].default,
    "data",
    "file",
    "redis",
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to ask about.

    Attributes:
        name: As it was given or found, in characters that can be printed as JSON.
        path: Where it lies on this machine; None if `name` is a URI that the worker fetches.
    """

    name: str
    path: Path | None = None


def find_pictures(arguments: Iterable[str]) -> list[Picture]:
    """Find the images that the arguments name, in their order.

    An argument is the path of a file, or of a folder, which is searched through and through for
    files with an image's suffix, in the order of their names; else a URI; else a glob that the
    shell left alone.

    Raises:
        WrongInputError: An argument stands for nothing.
    """
    return [picture for argument in arguments for picture in _expand(argument)]


def _expand(argument: str) -> Iterator[Picture]:
    if os.path.lexists(argument):
        yield from _at_path(argument)
    elif _looks_like_uri(argument):
        yield Picture(_checked_uri(decoded(argument) or argument))
    elif glob.has_magic(argument):
        yield from _matching(argument)
    else:
        raise WrongInputError(
            f"There is no file {quote(argument)}; give a path, a folder, a glob or a URL."
        )


def _at_path(path: str) -> Iterator[Picture]:
    if not os.path.isdir(path):  # noqa: PTH112  # a str keeps './' and what is no UTF-8
        yield Picture(_shown(path), Path(path))
        return
    found = False
    for picture in _below(path):
        found = True
        yield picture
    if not found:
        raise WrongInputError(
            f"The folder {quote(path)} has no pictures: no file in it or below it ends in "
            f"{', '.join(sorted(SUFFIXES))}."
        )


def _below(folder: str) -> Iterator[Picture]:
    for here, folders, files in os.walk(folder, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                path = os.path.join(here, name)  # noqa: PTH118  # as above
                yield Picture(_shown(path), Path(path))


def _shown(path: str) -> str:
    """A path as text: what is not UTF-8 in it is replaced."""
    return decoded(path) or os.fsencode(path).decode(errors="replace")


def _refuse_folder(error: OSError) -> NoReturn:
    raise WrongInputError(
        f"The folder {quote(error.filename)} can't be read: {error.strerror}."
    ) from error


def _matching(pattern: str) -> Iterator[Picture]:
    paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # as above
    if not paths:
        raise WrongInputError(f"No picture matches {quote(pattern)}.")
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
            f"{quote(argument)} has the scheme {scheme_of(uri)!r}, which no worker fetches; give "
            f"one of {', '.join(SCHEMES)}, or a path."
        )
    return uri
