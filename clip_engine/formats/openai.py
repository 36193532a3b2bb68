"""OpenAI's own checkpoints: TorchScript archives, and state dicts with OpenAI's extra keys."""

from __future__ import annotations

from pathlib import Path

from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.weights_file import WeightsFile
from clip_engine.model import Traits
from clip_engine.model.build import METADATA_KEYS


def recognises(weights: WeightsFile) -> bool:
    """Whether it is an archive, or a state dict with the three extra keys of OpenAI's models."""
    return weights.container == "TorchScript archive" or weights.state.keys() >= METADATA_KEYS


def interpret(path: Path, weights: WeightsFile) -> Checkpoint:
    """Use OpenAI's traits, except that an archive's class names show whether it has exact GELU."""
    exact = "GELU" in weights.classes and "QuickGELU" not in weights.classes
    return Checkpoint(
        path=path,
        format=f"OpenAI CLIP, {weights.container}",
        files=weights.files,
        state=weights.state,
        traits=Traits(activation="gelu" if exact else "quick_gelu"),
    )
