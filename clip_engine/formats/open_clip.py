"""OpenCLIP's checkpoints: weights in OpenAI's layout, with or without a config file.

`open_clip.push_to_hf_hub` writes `open_clip_config.json` beside the weights. Without it nothing in
the weights says whether the MLPs have GELU or QuickGELU: OpenCLIP publishes models of the same
names and shapes with either, and its trainer's {"epoch", "name", "state_dict", ...} doesn't say it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from clip_engine.errors import CheckpointError
from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.config_file import read_config
from clip_engine.formats.foreign import foreign_weights
from clip_engine.formats.open_clip_config import OpenCLIPConfig
from clip_engine.formats.weights_file import WeightsFile
from clip_engine.model import Traits
from clip_engine.model.config import StateDict, count_resblocks
from clip_engine.weights.layouts import OPEN_CLIP_CONFIG

# Head widths other than 64, by the image tower's width and resblocks (open_clip/model_configs:
# ViT-H-14 and -H-16, ViT-g-14, ViT-bigG-14, ViT-e-14).
WIDE_HEADS = {(1280, 32): 80, (1408, 40): 88, (1664, 48): 104, (1792, 56): 112}

TEXT_TOWER = {"token_embedding.weight", "positional_embedding", "text_projection"}


def recognises(weights: WeightsFile) -> bool:  # noqa: ARG001  # the last format
    """Always: weights of no other format are assumed to be in OpenAI's layout."""
    return True


def interpret(path: Path, weights: WeightsFile) -> Checkpoint:
    """Use the config in the weights' folder, or else infer the head width from the weights.

    Raises:
        CheckpointError: The config describes an unsupported model, or there is none and the weights
            are no CLIP's.
    """
    config = weights.files[0].parent / OPEN_CLIP_CONFIG
    if config.is_file():
        return _described(path, weights, read_config(config, OpenCLIPConfig), (config,))
    if not weights.state.keys() >= TEXT_TOWER and (kind := foreign_weights(weights.state)):
        raise CheckpointError(f"{str(path)!r} is {kind}.")
    head_width = WIDE_HEADS.get(_image_tower(weights.state), Traits.vision_head_width)
    return Checkpoint(
        path=path,
        format=f"{weights.container} in OpenAI's layout",
        files=weights.files,
        state=weights.state,
        traits=Traits(vision_head_width=head_width),
        has_activation=False,
    )


def by_config(path: Path, weights: WeightsFile, config: Mapping[str, object]) -> Checkpoint:
    """Use a config that isn't in a file: that of a tag of open_clip's.

    Args:
        path: Of the weights.
        weights: The file's content.
        config: A valid `OpenCLIPConfig`.
    """
    declared = OpenCLIPConfig.model_validate(config)
    checkpoint = _described(path, weights, declared, ())
    return replace(checkpoint, overrides=(json.dumps(config, sort_keys=True),))


def _described(
    path: Path, weights: WeightsFile, declared: OpenCLIPConfig, files: tuple[Path, ...]
) -> Checkpoint:
    return Checkpoint(
        path=path,
        format=f"OpenCLIP, {weights.container} with {OPEN_CLIP_CONFIG if files else 'its tag'}",
        files=(*weights.files, *files),
        state=weights.state,
        traits=declared.traits(),
        preprocessing=declared.preprocess_cfg,
        sizes=declared.sizes(),
    )


def _image_tower(state: StateDict) -> tuple[int, int]:
    """Width and number of resblocks of a ViT; (0, 0) for other models."""
    embedding = state.get("visual.class_embedding")
    if embedding is None:
        return 0, 0
    return embedding.numel(), count_resblocks(state, "visual.transformer")
