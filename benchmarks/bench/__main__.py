"""The command: `python -m benchmarks.bench [--quick | --full] [--only SECTION …]`.

Without options it takes about 25 minutes on two cores and writes docs/performance.md,
docs/performance/bench.json and the plots there. `--quick` takes minutes, shows that all of it
works, and writes to build/bench-quick only.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bench import (
    document,
    end_to_end,
    growth,
    latency,
    machine,
    no_op,
    page,
    plots,
    start_up,
)
from benchmarks.bench.progress import say
from benchmarks.bench.scale import SCALES, Scale

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "bench-cache"
QUICK = ROOT / "build" / "bench-quick"
PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "performance"
SECTIONS: dict[str, Callable[[Scale, Path], dict[str, Any]]] = {
    "no_op": lambda scale, _: no_op.measure(scale),
    "end_to_end": end_to_end.measure,
    "latency": latency.measure,
    "growth": growth.measure,
    "start_up": start_up.measure,
}


def main() -> int:
    """Measure, save after every section, then write page and plots; 1 if a section failed."""
    options = _options()
    scale = SCALES[options.scale]
    folder = options.output or (QUICK if scale.name == "quick" else FOLDER)
    # A chosen few sections renew theirs and leave the others' figures.
    kept = document.load(folder) if options.only or options.render else {"sections": {}}
    names = [] if options.render else options.only or list(SECTIONS)
    failed = [name for name in names if not _measure(name, scale, kept, folder)]
    plots.draw(kept, folder)
    if folder == FOLDER:
        page.write(PAGE, kept, folder)
        say(f"wrote {PAGE.relative_to(ROOT)} and {folder.relative_to(ROOT)}/")
    print(page.printed(kept))
    if failed:
        say(f"failed: {', '.join(failed)}; the other sections are complete")
    return 1 if failed else 0


def _measure(name: str, scale: Scale, kept: dict[str, Any], folder: Path) -> bool:
    say(f"{name} ({scale.name})")
    taken = {
        "machine": machine.describe(),
        "command": _command(scale),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "busy_before": machine.busy(),
    }
    start = time.monotonic()
    try:
        data = SECTIONS[name](scale, CACHE)
    except Exception:  # noqa: BLE001  # the other sections' minutes shall not be lost
        traceback.print_exc()
        return False
    seconds = round(time.monotonic() - start, 1)
    taken |= {"seconds": seconds, "busy_after": machine.busy(), "data": data}
    kept["sections"][name] = taken
    kept["sections"] = {one: kept["sections"][one] for one in SECTIONS if one in kept["sections"]}
    document.save(folder, kept)
    return True


def _command(scale: Scale) -> str:
    return "make bench" if scale.name == "default" else f'make bench ARGS="--{scale.name}"'


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.set_defaults(scale="default")
    for name in ("quick", "full"):
        parser.add_argument(
            f"--{name}", action="store_const", const=name, dest="scale", help=f"{name} run"
        )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="measure these sections")
    parser.add_argument("--render", action="store_true", help="measure nothing; tables and plots")
    parser.add_argument("--output", type=Path, help="folder for JSON and plots, and no page")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
