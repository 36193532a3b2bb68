"""Controls what the C library keeps of memory that was freed (glibc only).

glibc keeps freed blocks of up to 32 MB for later, in each of eight arenas a core: two decodes of
350 MB, one after the other on two threads, kept 700 MB; 150 files of 20 MB, a few of them at a
time, kept 300 MB. With four arenas, and `return_freed` after each, it kept 100 MB.
Mapping larger blocks one by one instead keeps nothing, and costs a forward pass up to 20 %.
"""

from __future__ import annotations

import ctypes
import errno
from functools import cache
from typing import Any

_ARENA_MAX = -8  # M_ARENA_MAX of mallopt(3)


def limit_arenas(count: int) -> None:
    """Let threads share so many arenas; before they are started."""
    if libc := _libc():
        libc.mallopt(_ARENA_MAX, count)


def return_freed() -> None:
    """Return to the system what is free; takes less than a millisecond, mostly."""
    if libc := _libc():
        libc.malloc_trim(ctypes.c_size_t(0))


def forget_failures() -> None:
    """Before what `has_failed` is asked about, on the same thread."""
    if location := _error_number():
        location()[0] = 0


def has_failed() -> bool:
    """Whether an allocation of this thread has failed since; False with another C library.

    libwebp, libavif and libjpeg report a failed allocation as a broken file. C's `errno` shows what
    it was, for no call that succeeds resets it.
    """
    location = _error_number()
    return location is not None and location()[0] == errno.ENOMEM


@cache
def _error_number() -> Any:
    if (libc := _libc()) is None:
        return None
    location = libc["__errno_location"]  # of the calling thread
    location.restype = ctypes.POINTER(ctypes.c_int)
    return location


@cache
def _libc() -> Any:
    """glibc; None where there is another C library, as on Alpine and macOS."""
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "gnu_get_libc_version") else None
    except OSError:
        return None
