"""Decodes images and says what each took: `python decoding_peak.py MODE FILE...`; one line each.

A line is: the estimate in bytes, and the growth of this process's peak.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor

torch.set_num_threads(1)


def memory_of(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if field in line) * 1024


def measure(preprocessor: Preprocessor, data: bytes) -> tuple[int, int]:
    estimates: list[int] = []
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew
    before = memory_of("VmRSS")
    preprocessor.from_bytes(data, estimates.append)
    return estimates[-1], memory_of("VmHWM") - before


def main() -> None:
    preprocessor = Preprocessor(ImageTransform(224), sys.argv[1])  # type: ignore[arg-type]
    files = [Path(name).read_bytes() for name in sys.argv[2:]]
    preprocessor.from_bytes(files[0])  # loads what is loaded once
    for data in files:
        print(*measure(preprocessor, data))


if __name__ == "__main__":
    main()
