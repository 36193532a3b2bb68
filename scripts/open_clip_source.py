"""Where the scripts that rebuild package data find their source: files of `open_clip_torch`."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "clip_engine" / "data"


def parse_arguments(description: str, source_name: str, product: Path) -> argparse.Namespace:
    """Parse `--source` and `--output`; the source is the installed one unless it is named.

    Raises:
        ValueError: `open_clip_torch` is not installed, and no source is named.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--source", type=Path, help=f"{source_name}, default: the installed one")
    parser.add_argument("--output", type=Path, default=product, help="default: %(default)s")
    arguments = parser.parse_args()
    arguments.source = arguments.source or find_source(source_name)
    return arguments


def find_source(name: str) -> Path:
    """Find a file of the installed `open_clip_torch` without importing it, and torch with it.

    Raises:
        ValueError: It is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise ValueError(
            f"no {name}: run `pip install --no-deps open_clip_torch`, or name it by --source"
        )
    return Path(spec.origin).parent / name
