"""Where CPython keeps this process's GIL in memory, and each thread's state.

CPython's struct has been the same since 3.7: the switch interval in microseconds, a pointer to the
state of the thread that holds the GIL or held it last, and an int that is 1 while it is held. Where
it lies differs between versions, so it is searched for by its contents.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import threading
from pathlib import Path

WORD = 8
STATE_BYTES = 512  # as much of a thread's state as is searched for its id


def find_gil() -> int | None:
    """Address of the pointer to the holder, or None if it is not certain."""
    try:
        start, size = _runtime()
    except (ValueError, OSError, StopIteration):  # no such symbol, no /proc
        return None
    words = struct.unpack(f"{size // WORD}Q", ctypes.string_at(start, size))
    interval, state = round(sys.getswitchinterval() * 1e6), _current_state()
    found = [
        i
        for i in range(1, len(words) - 1)
        if words[i] == state and words[i - 1] == interval and words[i + 1] & 0xFFFFFFFF == 1
    ]
    return start + found[0] * WORD if len(found) == 1 else None


def thread_states() -> dict[int | None, int]:
    """Address of each thread's state by the thread's `ident`."""
    api = ctypes.pythonapi
    api.PyInterpreterState_Get.restype = ctypes.c_void_p
    api.PyInterpreterState_ThreadHead.restype = ctypes.c_void_p
    api.PyThreadState_Next.restype = ctypes.c_void_p
    offset = _state_words(_current_state()).index(threading.get_ident())
    interpreter = ctypes.c_void_p(api.PyInterpreterState_Get())
    state: int | None = api.PyInterpreterState_ThreadHead(interpreter)
    found: dict[int | None, int] = {}
    while state:
        found[_state_words(state)[offset]] = state
        state = api.PyThreadState_Next(ctypes.c_void_p(state))
    return found


def _current_state() -> int:
    ctypes.pythonapi.PyThreadState_Get.restype = ctypes.c_void_p
    return int(ctypes.pythonapi.PyThreadState_Get())


def _state_words(state: int) -> tuple[int, ...]:
    return struct.unpack(f"{STATE_BYTES // WORD}Q", ctypes.string_at(state, STATE_BYTES))


def _runtime() -> tuple[int, int]:
    """Address of `_PyRuntime`, and how many bytes can be read from there."""
    start = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    areas = [[int(edge, 16) for edge in line.split()[0].split("-")] for line in lines]
    end = next(end for begin, end in areas if begin <= start < end)
    return start, (end - start) // WORD * WORD
