"""Compare the table of known models with open_clip's configs, or write its figures.

docs/models.md has the table for people, between two marks.

Parameters, resolution and operations are computed from models without weights, on the meta device.
A text tower of transformers is the exception: its size is in a file on the Hugging Face hub, so for
these models the parameters in the table are those of model_profile.csv in open_clip's docs.

    .venv/bin/python scripts/check_known_models.py          # exit status 1 if a figure is wrong
    .venv/bin/python scripts/check_known_models.py --write
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from clip_engine.weights.catalog import PUBLISHED
from clip_engine.weights.known import KnownModel, known_models
from clip_engine.weights.open_clip_tags import find_tag

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "clip_engine" / "data" / "known_models.json"
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- known models -->\n", "<!-- end -->\n"
HEADINGS = "| name | parameters | pixels | cost | ImageNet | labels | licence of the weights |\n"


def main() -> int:
    """Check or write the table."""
    warnings.simplefilter("ignore")
    logging.disable()  # open_clip's, that there are no weights
    rows = json.loads(TABLE.read_text(encoding="utf-8"))
    checked = [row | place(row["name"]) | figures(row["architecture"]) for row in rows]
    wrong = [new for old, new in zip(rows, checked, strict=True) if old != new]
    if "--write" in sys.argv:
        TABLE.write_text(json.dumps(checked, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {TABLE} and {PAGE}: {len(wrong)} of {len(rows)} rows changed")
        return 0
    for row in wrong:
        print(f"{row['name']} should be {json.dumps(row)}")
    return 1 if wrong else 0


def with_table(page: str) -> str:
    """A page with the table of known models between the marks."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    rows = "".join(_row(model) for model in known_models())
    return f"{before}{BEGIN}\n{HEADINGS}|---|--:|--:|--:|--:|---|---|\n{rows}\n{END}{after}"


def _row(model: KnownModel) -> str:
    imagenet = "" if model.imagenet is None else f"[{model.imagenet}]({model.imagenet_source})"
    licence = f"[{model.licence}]({model.licence_source})" if model.licence else "not verified"
    return (
        f"| `{model.name}` | {model.parameters_m:,.0f} M | {model.resolution} | "
        f"{model.relative_cost:.1f} | {imagenet} | {model.languages} | {licence} |\n"
    )


def place(name: str) -> dict[str, str | None]:
    """The repository of a tag and its file of weights; of OpenAI's models neither."""
    if name in PUBLISHED:
        return {"repository": None, "weights": None}
    tag = find_tag(name)
    assert tag is not None, f"open_clip has no tag {name}"
    return {"repository": tag.repository, "weights": tag.filename}


@cache
def figures(architecture: str) -> dict[str, float]:
    """The table's figures of an architecture, by their names."""
    config = open_clip.get_model_config(architecture)
    resolution = config["vision_cfg"]["image_size"]
    found = {}
    if "hf_model_name" in config["text_cfg"]:
        tower = _image_tower(config)
    else:
        with torch.device("meta"):
            model = open_clip.create_model(architecture, device="meta", load_weights=False)
        tower = model.visual
        found["parameters_m"] = round(_parameters(model) / 1e6, 1)
    return found | {"resolution": resolution, "image_gflops": _gflops(tower, resolution)}


def _image_tower(config: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        tower: nn.Module = open_clip.model._build_vision_tower(  # noqa: SLF001  # no other way
            config["embed_dim"],
            config["vision_cfg"],
            quick_gelu=config.get("quick_gelu", False),
        )
    return tower


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _gflops(tower: nn.Module, resolution: int) -> float:
    """Operations of one image in billions; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        tower.eval()(torch.empty(1, 3, resolution, resolution, device="meta"))
    return round(int(counter.get_total_flops()) / 1e9, 1)


if __name__ == "__main__":
    sys.exit(main())
