"""OpenAI's own checkpoints: archives of `torch.jit.save`, and state dicts with their marks."""

from __future__ import annotations

from pathlib import Path

from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.weights_file import WeightsFile
from clip_engine.model import Traits
from clip_engine.model.build import METADATA_KEYS


def recognises(weights: WeightsFile) -> bool:
    """An archive, or a state dict with the three numbers that OpenAI's model carries."""
    return weights.container == "TorchScript archive" or weights.state.keys() >= METADATA_KEYS


def interpret(path: Path, weights: WeightsFile) -> Checkpoint:
    """OpenAI's architecture; an archive of another CLIP tells by its classes if it has GELU."""
    exact = "GELU" in weights.classes and "QuickGELU" not in weights.classes
    return Checkpoint(
        path=path,
        format=f"OpenAI CLIP, {weights.container}",
        files=weights.files,
        state=weights.state,
        traits=Traits(activation="gelu" if exact else "quick_gelu"),
    )
