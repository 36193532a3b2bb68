"""How busy the GPU is, as nvidia-smi says: the share of time in which a kernel ran."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import defaultdict
from statistics import mean
from types import TracebackType
from typing import IO, Self

EVERY_MS = 200
COMMAND = (
    "nvidia-smi",
    "--query-gpu=timestamp,utilization.gpu,memory.used",
    "--format=csv,noheader,nounits",
    f"--loop-ms={EVERY_MS}",
)


class GpuUse:
    """Samples it while it is entered; afterwards `use` and `memory_mib` are of the busiest GPU.

    Attributes:
        use: 0 to 1; None if nvidia-smi isn't there or doesn't say (as with MIG).
        memory_mib: The most that was used; None if nvidia-smi isn't there.
    """

    use: float | None = None
    memory_mib: int | None = None

    def __enter__(self) -> Self:
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._process: subprocess.Popen[bytes] | None = None
        if shutil.which(COMMAND[0]):
            self._process = subprocess.Popen(COMMAND, stdout=self._log, stderr=subprocess.DEVNULL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
        self._log.seek(0)
        self.use, self.memory_mib = parse(self._log.read().decode(errors="replace"))
        self._log.close()


def parse(printed: str) -> tuple[float | None, int | None]:
    r"""Mean use and largest memory of the busiest GPU.

    >>> parse("2026/11/27 10:00:00.000, 90, 4000\n2026/11/27 10:00:00.200, 70, 4100\n")
    (0.8, 4100)
    >>> parse("2026/11/27 10:00:00.000, [N/A], 4000\n")
    (None, None)
    """
    samples = defaultdict(list)
    for line in printed.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            samples[fields[0]].append((int(fields[1]), int(fields[2])))
    if not samples:
        return None, None
    busiest = [max(of_all) for of_all in samples.values()]
    return mean(use for use, _ in busiest) / 100, max(memory for _, memory in busiest)
