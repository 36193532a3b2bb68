"""What it costs to import the client, in a real process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from support.heavy_modules import HEAVY

ROOT = Path(__file__).parents[2]
CLIENT_RSS_MB = 70  # 53 on Python 3.11 and 3.13, 61 on 3.14, 62 on 3.15; torch alone takes 550
PROBE = """
import json, sys, time
from pathlib import Path
before = time.perf_counter()
import clip_worker
seconds = time.perf_counter() - before
modules = sorted(sys.modules)
status = Path("/proc/self/status")
peak = 0
if status.exists():  # not getrusage: its maximum is that of the process before exec, too
    peak = next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "peak_kib": peak, "modules": modules}))
"""


def probe() -> dict[str, object]:
    finished = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dict(json.loads(finished.stdout))


def test_the_client_loads_neither_torch_nor_the_engine_and_is_small() -> None:
    runs = [probe() for _ in range(5)]
    for name in runs[0]["modules"]:  # type: ignore[attr-defined]
        assert name.partition(".")[0] not in HEAVY
    peak_mb = statistics.median(int(str(run["peak_kib"])) for run in runs) * 1024 / 1e6
    seconds = statistics.median(float(str(run["seconds"])) for run in runs)
    print(f"import clip_worker: {seconds:.3f} s, peak RSS {peak_mb:.0f} MB (medians of 5)")
    assert peak_mb < CLIENT_RSS_MB
