"""Where a model's files are, and what its name says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

_NOTHING: Mapping[str, object] = MappingProxyType({})
_NO_COMPANIONS: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LocatedModel:
    """A model on the local disk.

    Attributes:
        name: As in results: the published name, the hub's or open_clip's name as it was given, or
            the stem of a path.
        path: A checkpoint file, or a folder with a config and weights.
        architecture: open_clip's name of the architecture, for a tag such as
            `ViT-B-32/laion2b_s34b_b79k`, whose weights count without the config beside them.
        overrides: What open_clip's table says about the tag: `mean`, `std`, `interpolation`,
            `resize_mode` and, where the weights were trained with QuickGELU, `quick_gelu`.
        revision: Commit of the hub's repository; None for other files.
        companions: Folders of further repositories of the hub that open_clip's config names
            (`hf_tokenizer_name`, `hf_model_name`) and whose files aren't beside the weights, by the
            repository's name.
    """

    name: str
    path: Path
    architecture: str | None = None
    overrides: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    revision: str | None = None
    companions: Mapping[str, Path] = field(default_factory=lambda: _NO_COMPANIONS)
