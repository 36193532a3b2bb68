"""What open_clip's config of a model says: the architecture, and how images are prepared.

`open_clip_config.json` lies beside the weights; its fields are those of open_clip/model.py
(`CLIPVisionCfg`, `CLIPTextCfg`) and open_clip/transform.py (`PreprocessCfg`). Weights of a
pretrained tag may come without it: then the registered architecture of that name counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clip_engine.errors import CheckpointError
from clip_engine.families.extra import open_clip
from clip_engine.formats.config_file import read_config
from clip_engine.formats.preprocessing import Preprocessing
from clip_engine.weights.layouts import HUGGING_FACE_CONFIG, OPEN_CLIP_CONFIG


class _ConfigFile(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class OpenClipConfig:
    """A model's architecture and preprocessing.

    Attributes:
        architecture: `model_cfg`, with its `vision_cfg` and `text_cfg`.
        preprocessing: Of images.
        files: The config file, if there is one.
        settings: What was said beside it, such as `architecture=ViT-B-16`.
    """

    architecture: Mapping[str, Any]
    preprocessing: Preprocessing
    files: tuple[Path, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def text(self) -> Mapping[str, Any]:
        """`text_cfg`."""
        return dict(self.architecture["text_cfg"])


def read_open_clip_config(
    folder: Path, architecture: str | None, overrides: Mapping[str, object]
) -> OpenClipConfig:
    """The config of a model.

    Args:
        folder: Where the weights are.
        architecture: open_clip's name of the architecture, in place of the config file's.
        overrides: Entries of `preprocess_cfg` that count more than the file's, and `quick_gelu`,
            as in open_clip's table of pretrained tags; others are ignored.

    Raises:
        CheckpointError: There is no config file and no name, the name is unknown, or the config is
            not one that open_clip writes.
    """
    file = folder / OPEN_CLIP_CONFIG
    settings = [f"{name}={value}" for name, value in sorted(overrides.items())]
    files: tuple[Path, ...] = ()
    if architecture is None:
        read = read_config(file, _ConfigFile)
        model, preprocessing, files = read.model_cfg, read.preprocess_cfg, (file,)
    else:
        model, preprocessing = _registered(architecture), {}
        settings.insert(0, f"architecture={architecture}")
    source = repr(architecture or str(file))
    _check_towers(model, source)
    if overrides.get("quick_gelu"):
        model = {**model, "quick_gelu": True}
    merged = preprocessing | {name: v for name, v in overrides.items() if v is not None}
    try:
        images = Preprocessing.model_validate(merged)
    except ValidationError as error:
        reason = error.errors()[0]
        raise CheckpointError(
            f"{source} prepares images in a way that isn't supported: {reason['loc'][0]} is "
            f"{reason['input']!r}; {reason['msg']}."
        ) from error
    return OpenClipConfig(model, images, files, tuple(settings))


def _registered(name: str) -> dict[str, Any]:
    config = open_clip().get_model_config(name)
    if config is None:
        raise CheckpointError(
            f"open_clip {open_clip().__version__} has no architecture {name!r}; update "
            "open_clip_torch, or give a folder with an open_clip_config.json."
        )
    return dict(config)


def _check_towers(model: Mapping[str, Any], source: str) -> None:
    wrong = [name for name in ("vision_cfg", "text_cfg") if not isinstance(model.get(name), dict)]
    if wrong or not isinstance(model.get("embed_dim"), int):
        raise CheckpointError(
            f"{source} doesn't describe a model: {', '.join(wrong) or 'embed_dim'} is missing; "
            "give the open_clip_config.json that belongs to the weights."
        )


def text_tower_folder(name: str, folders: tuple[Path, ...], known: tuple[str, ...]) -> Path:
    """The folder with the config of a text tower from transformers; it runs no code.

    Args:
        name: The tower's name on the hub, `hf_model_name`.
        folders: Where its `config.json` may be; the first that has a text model's counts.
        known: The types of text models that open_clip supports.

    Raises:
        CheckpointError: None of the folders has it.
    """
    for folder in folders:
        if _model_type(folder / HUGGING_FACE_CONFIG) in known:
            return folder
    raise CheckpointError(
        f"The text tower {name!r} needs its {HUGGING_FACE_CONFIG}, which is not in "
        f"{', '.join(repr(str(folder)) for folder in folders)}; download it with "
        f"`hf download {name} {HUGGING_FACE_CONFIG}`, or put it beside the weights."
    )


def _model_type(file: Path) -> object:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return content.get("model_type") if isinstance(content, dict) else None
