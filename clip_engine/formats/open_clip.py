"""OpenCLIP's checkpoints: weights in OpenAI's layout, with or without a config file.

`open_clip.push_to_hf_hub` writes `open_clip_config.json` beside the weights. OpenCLIP's trainer
writes {"epoch", "name", "state_dict", ...}, which doesn't specify the activation: GELU is assumed,
as for model names without "-quickgelu". Bare weights may also be OpenAI's, saved again: QuickGELU
is assumed. The assumption is logged, and `activation` of `read_checkpoint` overrides it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.config_file import read_config
from clip_engine.formats.open_clip_config import OpenCLIPConfig
from clip_engine.formats.weights_file import WeightsFile
from clip_engine.model import Activation, Traits
from clip_engine.model.config import StateDict, count_resblocks
from clip_engine.weights.layouts import OPEN_CLIP_CONFIG

# Head widths other than 64, by the image tower's width and resblocks (open_clip/model_configs:
# ViT-H-14 and -H-16, ViT-g-14, ViT-bigG-14, ViT-e-14). All of them are published with GELU, some,
# such as DFN's H-14, with QuickGELU too.
WIDE_HEADS = {(1280, 32): 80, (1408, 40): 88, (1664, 48): 104, (1792, 56): 112}

_LOG = logging.getLogger(__name__)


def recognises(weights: WeightsFile) -> bool:  # noqa: ARG001  # the last format
    """Always: weights of no other format are assumed to be in OpenAI's layout."""
    return True


def interpret(path: Path, weights: WeightsFile) -> Checkpoint:
    """Use the config in the weights' folder, or else infer the traits from the weights.

    Raises:
        CheckpointError: The config describes an unsupported model.
    """
    config = weights.files[0].parent / OPEN_CLIP_CONFIG
    if config.is_file():
        return _by_config(path, weights, config)
    traits = _assumed_traits(weights)
    _LOG.warning(
        "%r doesn't specify its activation; assuming %s. If results are poor, set the activation.",
        str(path),
        traits.activation,
    )
    return Checkpoint(
        path=path,
        format=f"{weights.container} in OpenAI's layout, activation assumed",
        files=weights.files,
        state=weights.state,
        traits=traits,
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


def _assumed_traits(weights: WeightsFile) -> Traits:
    head_width = WIDE_HEADS.get(_image_tower(weights.state))
    is_open_clips = head_width is not None or weights.container == "training checkpoint"
    activation: Activation = "gelu" if is_open_clips else "quick_gelu"
    return Traits(activation=activation, vision_head_width=head_width or Traits.vision_head_width)


def _image_tower(state: StateDict) -> tuple[int, int]:
    """Width and number of resblocks of a ViT; (0, 0) for other models."""
    embedding = state.get("visual.class_embedding")
    if embedding is None:
        return 0, 0
    return embedding.numel(), count_resblocks(state, "visual.transformer")
