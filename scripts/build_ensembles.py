"""Rebuild `clip_engine/data/ensembles.json` from the template lists in `open_clip_torch`.

The CLIP notebook "Prompt Engineering for ImageNet" has 80 templates, and the seven that forward
selection among them chose. `open_clip_torch` keeps both lists as functions; here each becomes a
string with `{}` where the label goes.

    pip install --no-deps open_clip_torch
    python scripts/build_ensembles.py
"""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
from pathlib import Path

from open_clip_source import DATA, parse_arguments

PRODUCT = DATA / "ensembles.json"
SOURCE_NAME = "zero_shot_metadata.py"
SOURCES = {
    "imagenet": "OPENAI_IMAGENET_TEMPLATES",
    "imagenet-simple": "SIMPLE_IMAGENET_TEMPLATES",
}
PRODUCT_SHA256 = "549c6b6c7854625b90afc3d0c081f2f75ae144aa1475d274f6cf381ecd631358"


def main() -> int:
    """Read the source, check what it gives, write the product; 0 if it is what it should be."""
    try:
        arguments = parse_arguments((__doc__ or "").splitlines()[0], SOURCE_NAME, PRODUCT)
        text = extract_ensembles(arguments.source)
        arguments.output.write_text(text, "utf-8")
    except (OSError, ValueError) as error:
        print(f"build_ensembles: {error}", file=sys.stderr)
        return 1
    print(f"wrote {arguments.output}: SHA-256 {PRODUCT_SHA256} as expected")
    return 0


def extract_ensembles(source: Path) -> str:
    """Return the ensembles as JSON: name to templates.

    Raises:
        ValueError: The lists are not there, or not those known.
    """
    lists = runpy.run_path(str(source))
    try:
        ensembles = {name: [fill("{}") for fill in lists[key]] for name, key in SOURCES.items()}
    except KeyError as error:
        raise ValueError(f"{source} has no {error.args[0]}") from error
    text = json.dumps(ensembles, indent=2) + "\n"
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    if digest != PRODUCT_SHA256:
        raise ValueError(f"what {source} gives has SHA-256 {digest}, expected {PRODUCT_SHA256}")
    return text


if __name__ == "__main__":
    sys.exit(main())
