"""Reads files of `torch.save`: a state dict, or a training checkpoint with one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from clip_engine.errors import CheckpointError

# Keys of the weights in a training checkpoint: {"state_dict": {...}, "epoch": 3, ...}.
WRAPPER_KEYS = ("state_dict", "model_state_dict", "model")
# Keys of OpenCLIP's training checkpoints (open_clip_train/main.py).
OPEN_CLIP_TRAINING_KEYS = frozenset({"epoch", "name", "state_dict"})
DATA_PARALLEL_PREFIX = "module."


def read_torch_file(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Read a file of `torch.save` with torch's unpickler for tensors only.

    Returns:
        The weights by name, and whether it is a training checkpoint of OpenCLIP.

    Raises:
        CheckpointError: It holds something other than weights.
        Exception: Anything that torch raises for a file that it can't read safely.
    """
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    wrapped = isinstance(loaded, dict) and loaded.keys() >= OPEN_CLIP_TRAINING_KEYS
    return _unwrap(loaded, path), wrapped


def _unwrap(loaded: object, path: Path) -> dict[str, Tensor]:
    for key in WRAPPER_KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(
        isinstance(value, Tensor) for value in loaded.values()
    ):
        raise CheckpointError(
            f"{str(path)!r} holds a {type(loaded).__name__} that is not a state dict; give a file "
            "written by torch.save(model.state_dict(), path)."
        )
    return {str(key).removeprefix(DATA_PARALLEL_PREFIX): value for key, value in loaded.items()}
