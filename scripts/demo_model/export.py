"""Writes the demo model as OpenAI lays its checkpoints out."""

from __future__ import annotations

from pathlib import Path

import torch

from clip_engine.model import CLIP


def save_checkpoint(model: CLIP, path: Path) -> None:
    """Write a plain state dict: float16 weights and OpenAI's three extra numbers.

    The file appears whole or not at all.

    Args:
        model: With weights that fit float16.
        path: File to write or to replace.
    """
    state = {
        name: weight.detach().half() if weight.is_floating_point() else weight.detach()
        for name, weight in model.state_dict().items()
    }
    config = model.config
    state |= {
        "input_resolution": torch.tensor(config.image_resolution),
        "context_length": torch.tensor(config.context_length),
        "vocab_size": torch.tensor(config.vocab_size),
    }
    unfinished = path.with_name(path.name + ".part")
    torch.save({name: weight.clone().contiguous() for name, weight in state.items()}, unfinished)
    unfinished.replace(path)
