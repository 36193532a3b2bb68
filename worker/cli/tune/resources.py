"""Memory and processor time of this process and of others, from Linux's /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

_KIB = 1024
_PROC = Path("/proc")


def peak_bytes(others: Iterable[int]) -> int | None:
    """This process's peak memory, and what other processes have beside it.

    Of the others counts the memory that isn't a file's and isn't this process's: libraries, and
    pixels that both share, count once.

    Args:
        others: Process ids.

    Returns:
        None where the system doesn't say.
    """
    own = _table(_PROC / "self/status").get("VmHWM")
    if own is None:
        return None
    rollups = (_table(_PROC / str(pid) / "smaps_rollup") for pid in others)
    return own + sum(table.get("Pss_Anon", 0) for table in rollups)


def cpu_s(others: Iterable[int]) -> float | None:
    """Processor time of this process and of others so far; None where the system doesn't say."""
    if not (_PROC / "self/stat").exists():
        return None
    return time.process_time() + sum(_cpu_s(pid) for pid in others)


def busy_s() -> float | None:
    """Time so far in which any program used the cores that this process may use, all together."""
    lines = [line.split() for line in _text(_PROC / "stat").splitlines() if line.startswith("cpu")]
    if not lines:
        return None
    own = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    # User, nice, system, interrupts, soft interrupts, and what other virtual machines took.
    ticks = [int(line[place]) for line in lines if line[0] in own for place in (1, 2, 3, 6, 7, 8)]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def _cpu_s(pid: int) -> float:
    # The name is in parentheses and may contain anything; user and system time are 14th and 15th.
    fields = _text(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def processor_name() -> str:
    """The processor's name as the system knows it."""
    for line in _text(_PROC / "cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return os.uname().machine


def _table(file: Path) -> dict[str, int]:
    """The lines `Name:  123 kB` of a file in /proc, in bytes."""
    words = (line.split() for line in _text(file).splitlines())
    return {
        each[0].rstrip(":"): int(each[1]) * _KIB
        for each in words
        if len(each) == 3 and each[2] == "kB"
    }


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:  # it has ended
        return ""
