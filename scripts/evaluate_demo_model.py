"""Measure the demo model, and write the figures beside it and into its card.

    python scripts/evaluate_demo_model.py

Writes `evaluation.json` and the tables of `MODEL_CARD.md` in `clip_engine/demo/`, and prints the
sentence that belongs in the model card.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from demo_model.evaluation import evaluate
from demo_model.report import headline, tables, with_tables

from clip_engine.loader import load_engine
from clip_engine.weights.locate import DEMO_MODEL

DEMO_FOLDER = Path(__file__).resolve().parent.parent / "clip_engine" / "demo"


def main() -> None:
    """Measure; print the tables and, for the shipped model, store them."""
    options = _options()
    torch.set_num_threads(options.threads)
    engine = load_engine(options.model)
    evaluation = evaluate(engine, options.pictures, options.fewer, options.seed)
    print(tables(evaluation), headline(evaluation), sep="\n\n")
    if options.model == DEMO_MODEL:
        figures = json.dumps(asdict(evaluation), indent=2) + "\n"
        (DEMO_FOLDER / "evaluation.json").write_text(figures, encoding="utf-8")
        card = DEMO_FOLDER / "MODEL_CARD.md"
        card.write_text(with_tables(card.read_text(encoding="utf-8"), evaluation), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=DEMO_MODEL, help="checkpoint; others are only printed")
    parser.add_argument("--pictures", type=int, default=16_000, help="of the main figures")
    parser.add_argument("--fewer", type=int, default=1000, help="of each template and kind of file")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
