"""The sentences for results that can't be written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clip_worker.errors import ServiceError
from clip_worker.quoting import quote, shown_uri

SINK_FAILED = "SINK_FAILED"
ELSEWHERE = "name another place"

# What is wrong with one path; another file may well be written.
_OF_ONE_PATH = frozenset({
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP),
})  # fmt: skip

# What the system says, and what to do.
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space"),
    errno.EFBIG: ("the file would be larger than allowed", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", ELSEWHERE),
    errno.EACCES: ("permission denied", "make it writable for this user"),
    errno.EPERM: ("permission denied", "make it writable for this user"),
    errno.ENOENT: ("it or its folder does not exist", "make the folder"),
    errno.ENOTDIR: ("a part of its path is not a folder", ELSEWHERE),
    errno.EISDIR: ("it is a folder", ELSEWHERE),
    errno.ENAMETOOLONG: ("its name is too long", "shorten it"),
    errno.ELOOP: ("it is a symbolic link, which is not followed", "remove the link"),
}


def sink_failed(place: Path | str, reason: str, remedy: str) -> ServiceError:
    """The error for a place that results can't be written to.

    Args:
        place: A path, or a URL, whose secrets are not shown.
        reason: To follow a colon.
        remedy: An instruction, to be followed by "and run the same command again".
    """
    shown = quote(str(place)) if isinstance(place, Path) else shown_uri(place)
    return ServiceError(
        f"Results can't be written to {shown}: {reason}; {remedy} and run the same command again.",
        SINK_FAILED,
    )


def is_of_one_path(error: ServiceError) -> bool:
    """Whether an error of `translated_os_errors` says nothing about other files."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _OF_ONE_PATH


@contextmanager
def translated_os_errors(path: Path) -> Iterator[None]:
    """Raise errors of the system as `SINK_FAILED`.

    Raises:
        ServiceError: The system refused something.
    """
    try:
        yield
    except OSError as error:
        usual = (error.strerror or type(error).__name__, ELSEWHERE)
        raise sink_failed(path, *_REASONS.get(error.errno or 0, usual)) from error
