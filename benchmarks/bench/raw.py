"""The raw engine as a process that is asked one thing at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from benchmarks.bench.contender import Round
from benchmarks.bench.program import ROOT, clean_environment
from benchmarks.bench.server import BenchError


class RawEngine:
    """`contenders/raw_engine.py` while it is entered; it ends when its stdin does.

    Args:
        model: The checkpoint's path, or a published name.
    """

    name = "raw engine"

    def __init__(self, model: str) -> None:
        self._environment: Mapping[str, str] = clean_environment() | {"CLIP_WORKER_MODEL": model}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.bench.contenders.raw_engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(self._environment),
            cwd=ROOT,
            text=True,
        )
        self.precision = str(self._read()["precision"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def warm_up(self, tasks: Sequence[tuple[str, list[str]]]) -> None:
        """Encode the labels."""
        self.run(tasks)

    def run(self, tasks: Sequence[tuple[str, list[str]]]) -> Round:
        """One round: these images, each with its labels."""
        images, labels = zip(*tasks, strict=True)
        reported = self._ask({"images": images, "labels": labels, "k": 5})
        answers = [dict(best) for best in reported["answers"]]
        return Round(len(tasks), reported["seconds"], reported["cpu_s"], 0.0, answers)

    def once(self, what: str, image: str, labels: Sequence[str], pause_s: float) -> float:
        """Seconds of one image after a pause: of the image tower (`forward`), or of `whole`."""
        request = {"once": what, "image": image, "labels": list(labels), "pause_s": pause_s}
        return float(self._ask(request)["seconds"])

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"the raw engine ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
