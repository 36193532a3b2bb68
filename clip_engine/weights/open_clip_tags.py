"""open_clip's tables of architectures and pretrained tags, an optional dependency.

Whether a name is an architecture follows from the names of open_clip's files, because its import
takes seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clip_engine.weights.hub import Repository
from clip_engine.weights.layouts import first_weights, tag_weights

# What the table says about preprocessing and activation.
OVERRIDES = ("mean", "std", "interpolation", "resize_mode", "quick_gelu")


@dataclass(frozen=True, slots=True)
class Tag:
    """A pretrained tag of an architecture, such as `ViT-B-16-SigLIP2-256/webli`."""

    architecture: str
    repository: str
    filename: str
    overrides: Mapping[str, object]

    def files(self, revision: str | None) -> Repository:
        """The tag's weights on the hub."""
        candidates = tag_weights(self.filename)
        choose = partial(first_weights, candidates=candidates)
        return Repository(self.repository, revision, choose)


def find_tag(name: str) -> Tag | None:
    """The tag of this name; None if open_clip has none, or isn't installed."""
    architecture, _, tag = name.partition("/")
    if not tag or not _is_architecture(architecture):
        return None
    from open_clip.pretrained import get_pretrained_cfg

    entry = get_pretrained_cfg(architecture, tag)
    if not entry:
        return None
    # As in open_clip: "org/name/" for its default file, "org/name/file" for another one.
    repository, _, filename = entry["hf_hub"].rpartition("/")
    overrides = {key: entry[key] for key in OVERRIDES if key in entry}
    return Tag(architecture, repository, filename or "open_clip_pytorch_model.bin", overrides)


def all_tags() -> list[str]:
    """The names of all tags; empty if open_clip isn't installed."""
    if find_spec("open_clip") is None:
        return []
    from open_clip.pretrained import list_pretrained

    return ["/".join(pair) for pair in list_pretrained()]


def architecture_config(architecture: str) -> Mapping[str, Any]:
    """open_clip's config of an architecture; empty if it has none."""
    path = _config_path(architecture)
    return {} if path is None or not path.is_file() else dict(json.loads(path.read_text()))


def _is_architecture(name: str) -> bool:
    path = _config_path(name)
    return path is not None and path.is_file()


def _config_path(architecture: str) -> Path | None:
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "model_configs" / f"{architecture}.json"
