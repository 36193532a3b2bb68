"""The command: `python -m benchmarks.scores`; `benchmarks.scores` says what it measures.

Takes five minutes on two cores, most of it to draw and encode the pictures; writes
docs/scores/figures.json, the plots there and the tables of docs/scores.md. `--render` writes plots
and tables anew from the figures that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))  # for `demo_model`

from benchmarks.bench import machine  # noqa: E402
from benchmarks.scores import page, plots  # noqa: E402
from benchmarks.scores.evaluation import evaluate  # noqa: E402
from benchmarks.scores.pictures import held_out  # noqa: E402
from clip_engine import load_engine  # noqa: E402

FOLDER = ROOT / "docs" / "scores"
PACKAGES = ("torch", "pillow")


def main() -> None:
    """Measure, then write figures, plots and tables."""
    options = _options()
    file = FOLDER / "figures.json"
    figures = json.loads(file.read_text("utf-8")) if options.render else _measure(options)
    plots.draw(figures, FOLDER)
    file.write_text(json.dumps(figures) + "\n", "utf-8")
    page.write(ROOT / "docs" / "scores.md", figures)
    print(page.tables(figures))


@torch.inference_mode()
def _measure(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    engine = load_engine("demo")
    pictures = held_out(engine, options.pictures, options.seed)
    return {"machine": machine.describe(PACKAGES), **evaluate(engine, pictures)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scores")
    parser.add_argument("--pictures", type=int, default=4000, help="of each kind")
    parser.add_argument("--seed", type=int, default=2027)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--render", action="store_true", help="measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
