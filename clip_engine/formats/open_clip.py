"""OpenCLIP's checkpoints: OpenAI's layout, and a config beside the weights, or none at all.

`open_clip.push_to_hf_hub` writes `open_clip_config.json` beside the weights. OpenCLIP's trainer
writes {"epoch", "name", "state_dict", ...}, which doesn't tell GELU from QuickGELU: GELU is
assumed, as the model names without "-quickgelu" have it. Bare weights may as well be OpenAI's,
saved anew: QuickGELU is assumed. Either assumption is logged, and `activation` of `read_checkpoint`
overrules it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.config_file import read_config
from clip_engine.formats.find_weights import OPEN_CLIP_CONFIG
from clip_engine.formats.open_clip_config import OpenCLIPConfig
from clip_engine.formats.weights_file import WeightsFile
from clip_engine.model import Activation, Traits
from clip_engine.model.config import StateDict, count_resblocks

# Head widths other than 64, by the image tower's width and resblocks (open_clip/model_configs:
# ViT-H-14 and -H-16, ViT-g-14, ViT-bigG-14, ViT-e-14). All of these are published with GELU, and
# some, as DFN's H-14, with QuickGELU.
WIDE_HEADS = {(1280, 32): 80, (1408, 40): 88, (1664, 48): 104, (1792, 56): 112}

_LOG = logging.getLogger(__name__)


def recognises(weights: WeightsFile) -> bool:  # noqa: ARG001  # the last format takes all
    """Whatever no other format has recognised: the weights themselves are in OpenAI's layout."""
    return True


def interpret(path: Path, weights: WeightsFile) -> Checkpoint:
    """By the config in the weights' folder, else by the weights and what is around them.

    Raises:
        CheckpointError: The config describes a model that can't be run here.
    """
    config = weights.files[0].parent / OPEN_CLIP_CONFIG
    if config.is_file():
        return _by_config(path, weights, config)
    traits = _assumed_traits(weights)
    _LOG.warning(
        "%r doesn't say which activation its model has; %s is assumed. If its answers are poor, "
        "set the activation.",
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
    told = read_config(config, OpenCLIPConfig)
    return Checkpoint(
        path=path,
        format=f"OpenCLIP, {weights.container} with {config.name}",
        files=(*weights.files, config),
        state=weights.state,
        traits=told.traits(),
        normalisation=told.preprocess_cfg.normalisation(),
        sizes=told.sizes(),
    )


def _assumed_traits(weights: WeightsFile) -> Traits:
    head_width = WIDE_HEADS.get(_image_tower(weights.state))
    is_open_clips = head_width is not None or weights.container == "training checkpoint"
    activation: Activation = "gelu" if is_open_clips else "quick_gelu"
    return Traits(activation=activation, vision_head_width=head_width or Traits.vision_head_width)


def _image_tower(state: StateDict) -> tuple[int, int]:
    """Width and resblocks of a ViT, (0, 0) if it is none."""
    embedding = state.get("visual.class_embedding")
    if embedding is None:
        return 0, 0
    return embedding.numel(), count_resblocks(state, "visual.transformer")
