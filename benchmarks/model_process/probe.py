"""What can be seen of a worker process from outside: processor time and the GIL, by thread."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SAMPLE_PAUSE_S = 1e-3
HOLDER = struct.Struct("Qi")  # as in `in_worker.gil_layout`
OTHERS = "other threads"  # of torch and the C libraries, and those that ended


class Probe:
    """Reads what `in_worker.costless_app` writes about its process.

    Args:
        path: The file that it writes.
        pid: The process.
    """

    def __init__(self, path: Path, pid: int) -> None:
        self._path = path
        self.pid = pid

    def read(self) -> dict[str, Any]:
        """The newest contents, or an empty dict before there are any."""
        with contextlib.suppress(FileNotFoundError):
            content: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            return content
        return {}

    def thread_times(self) -> ThreadTimes:
        """Processor time of the process's threads until now."""
        names = {one["native_id"]: group(one["name"]) for one in self.read()["threads"]}
        cpu_s, waited_s = Counter[str](), 0.0
        for folder in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                ran, waited, _ = (folder / "schedstat").read_text().split()
                cpu_s[names.get(int(folder.name), OTHERS)] += float(ran) / 1e9
                waited_s += float(waited) / 1e9
        return ThreadTimes(cpu_s, waited_s)

    def gil_sampler(self) -> GilSampler | None:
        """A sampler of the GIL, or None where it cannot be read."""
        content = self.read()
        if not content["gil"]:
            return None
        names = {one["state"]: group(one["name"]) for one in content["threads"]}
        try:
            return GilSampler(self.pid, content["gil"], names)
        except PermissionError:
            return None


@dataclass(frozen=True)
class ThreadTimes:
    """Processor time by thread name.

    Attributes:
        cpu_s: Seconds on a core by name; threads of one pool together.
        waited_s: Seconds that threads were runnable and waited for a core.
    """

    cpu_s: Mapping[str, float]
    waited_s: float


def group(name: str) -> str:
    """A thread's name without its number: "decode-3" and "decode-12" are both "decode"."""
    return re.sub(r"[-_ ]\d+(?: \(.*\))?$", "", name)


class GilSampler:
    """Looks about once a millisecond, while it is entered, who holds a process's GIL.

    Args:
        pid: The process.
        address: Of its GIL's holder.
        names: Thread name by the address of the thread's state.

    Raises:
        PermissionError: The system does not let this process read the other one's memory.
    """

    def __init__(self, pid: int, address: int, names: Mapping[int, str]) -> None:
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        self._address = address
        self._names = names
        self._held = Counter[str]()
        self._samples = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="gil-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._seconds = time.monotonic() - self._start
        os.close(self._memory)

    @property
    def held_s(self) -> dict[str, float]:
        """Seconds of holding by thread name, once it was left."""
        return {name: self._seconds * count / self._samples for name, count in self._held.items()}

    def look(self) -> str | None:
        """Name of the thread that holds the GIL, or None while it is free."""
        holder, locked = HOLDER.unpack(os.pread(self._memory, HOLDER.size, self._address))
        return self._names.get(holder, OTHERS) if locked else None

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._samples += 1
            if (name := self.look()) is not None:
                self._held[name] += 1
            # At random, so as not to fall into step with what is looked at.
            time.sleep(random.uniform(0, 2 * SAMPLE_PAUSE_S))
