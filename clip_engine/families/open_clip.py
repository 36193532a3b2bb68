"""Loads models of open_clip's other families: SigLIP, MetaCLIP 2, EVA-02 and so on.

They are built by the library open_clip_torch, of the extra `models`; our own CLIP is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from clip_engine.acceleration import Acceleration
from clip_engine.dual_encoder import TrainedWith
from clip_engine.families.extra import open_clip
from clip_engine.families.library_encoder import LibraryDualEncoder
from clip_engine.families.open_clip_config import (
    OpenClipConfig,
    read_open_clip_config,
    text_tower_folder,
)
from clip_engine.families.open_clip_model import build_model
from clip_engine.families.open_clip_tokenizer import read_tokenizer
from clip_engine.families.open_clip_towers import open_clip_towers
from clip_engine.formats.find_weights import find_weights
from clip_engine.formats.weights_file import read_weights
from clip_engine.precision import Precision, default_precision
from clip_engine.weights.layouts import HUGGING_FACE_CONFIG


def load_open_clip(  # noqa: PLR0913  # each has a default
    path: Path,
    *,
    architecture: str | None = None,
    overrides: Mapping[str, object] | None = None,
    companions: Mapping[str, Path] | None = None,
    device: torch.device,
    precision: Precision | None = "float32",
    acceleration: Acceleration | None = None,
) -> LibraryDualEncoder:
    """Load a model in open_clip's format. Nothing is downloaded.

    Args:
        path: The weights, or a folder with them and `open_clip_config.json`.
        architecture: open_clip's name of the architecture, for weights without a config file.
        overrides: open_clip's preprocessing of a pretrained tag.
        companions: Folders of the further repositories of the hub that the config names
            (`hf_tokenizer_name`, `hf_model_name`), by their names.
        device: Where both towers run.
        precision: Of the image tower's matrix products; None for the default.
        acceleration: Which accelerations are on; None for all.

    Raises:
        CheckpointError: open_clip isn't installed, or the model can't be read or built.
    """
    weights = find_weights(path)
    config = read_open_clip_config(weights.parent, architecture, overrides or {})
    folders = Folders(weights.parent, companions or {})
    tokenizer = read_tokenizer(config.text, folders.of(config.text.get("hf_tokenizer_name")))
    config = _with_text_folder(config, folders)
    read = read_weights(weights)
    model, biased = build_model(config.architecture, read.state, path)
    loss: TrainedWith = "sigmoid" if biased else "softmax"
    return LibraryDualEncoder(
        open_clip_towers(model, acceleration or Acceleration(), loss),
        tokenizer=tokenizer,
        preprocessing=config.preprocessing,
        device=device,
        precision=precision or default_precision(device, read.state.values()),
        files=(*read.files, *config.files, *tokenizer.files),
        settings=config.settings,
    )


@dataclass(frozen=True)
class Folders:
    """Where the files of a model may be.

    Attributes:
        own: The weights' folder.
        companions: Further repositories of the hub, by name.
    """

    own: Path
    companions: Mapping[str, Path]

    def of(self, name: str | None) -> tuple[Path, ...]:
        """The folders in which files of the repository `name` may be."""
        further = self.companions.get(name) if name is not None else None
        return (self.own,) if further is None else (self.own, further)


def _with_text_folder(config: OpenClipConfig, folders: Folders) -> OpenClipConfig:
    """The config with a local folder as `hf_model_name`."""
    name = config.text.get("hf_model_name")
    if name is None:
        return config
    known = tuple(open_clip().hf_configs.arch_dict)
    folder = text_tower_folder(str(name), folders.of(name), known)
    text = {**config.text, "hf_model_name": str(folder)}
    return OpenClipConfig(
        architecture={**config.architecture, "text_cfg": text},
        preprocessing=config.preprocessing,
        files=(*config.files, folder / HUGGING_FACE_CONFIG),
        settings=config.settings,
    )
