"""OpenCLIP's checkpoints: weights in OpenAI's layout, with or without a config file.

`open_clip.push_to_hf_hub` writes `open_clip_config.json` beside the weights. Without it nothing in
the weights says whether the MLPs have GELU or QuickGELU: OpenCLIP publishes models of the same
names and shapes with either, and its trainer's {"epoch", "name", "state_dict", ...} doesn't say it.
"""

from __future__ import annotations

from pathlib import Path

from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.config_file import read_config
from clip_engine.formats.open_clip_config import OpenCLIPConfig
from clip_engine.formats.weights_file import WeightsFile
from clip_engine.model import Traits
from clip_engine.model.config import StateDict, count_resblocks
from clip_engine.weights.layouts import OPEN_CLIP_CONFIG

# Head widths other than 64, by the image tower's width and resblocks (open_clip/model_configs:
# ViT-H-14 and -H-16, ViT-g-14, ViT-bigG-14, ViT-e-14).
WIDE_HEADS = {(1280, 32): 80, (1408, 40): 88, (1664, 48): 104, (1792, 56): 112}


def recognises(weights: WeightsFile) -> bool:  # noqa: ARG001  # the last format
    """Always: weights of no other format are assumed to be in OpenAI's layout."""
    return True


def interpret(path: Path, weights: WeightsFile) -> Checkpoint:
    """Use the config in the weights' folder, or else infer the head width from the weights.

    Raises:
        CheckpointError: The config describes an unsupported model.
    """
    config = weights.files[0].parent / OPEN_CLIP_CONFIG
    if config.is_file():
        return _by_config(path, weights, config)
    head_width = WIDE_HEADS.get(_image_tower(weights.state), Traits.vision_head_width)
    return Checkpoint(
        path=path,
        format=f"{weights.container} in OpenAI's layout",
        files=weights.files,
        state=weights.state,
        traits=Traits(vision_head_width=head_width),
        has_activation=False,
    )


def _by_config(path: Path, weights: WeightsFile, config: Path) -> Checkpoint:
    declared = read_config(config, OpenCLIPConfig)
    return Checkpoint(
        path=path,
        format=f"OpenCLIP, {weights.container} with {config.name}",
        files=(*weights.files, config),
        state=weights.state,
        traits=declared.traits(),
        normalisation=declared.preprocess_cfg.normalisation(),
        sizes=declared.sizes(),
    )


def _image_tower(state: StateDict) -> tuple[int, int]:
    """Width and number of resblocks of a ViT; (0, 0) for other models."""
    embedding = state.get("visual.class_embedding")
    if embedding is None:
        return 0, 0
    return embedding.numel(), count_resblocks(state, "visual.transformer")
