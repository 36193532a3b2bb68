"""Checkpoints of the published architectures with random weights, in OpenAI's layout.

Speed doesn't depend on the weights, and neither does whether two ways to compute agree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_engine.model import CLIP, CLIPConfig

POOL = 4_000_037  # random numbers; a prime, so that no matrix has two equal rows
LOGIT_SCALE = 4.6052  # as trained: a factor of 100
TEXT: dict[str, Any] = {"transformer_width": 512, "transformer_layers": 12}

ARCHITECTURES: dict[str, CLIPConfig] = {
    "ViT-B/32": CLIPConfig(
        embed_dim=512,
        image_resolution=224,
        vision_layers=12,
        vision_width=768,
        vision_patch_size=32,
        **TEXT,
    ),
    "ViT-L/14": CLIPConfig(
        embed_dim=768,
        image_resolution=224,
        vision_layers=24,
        vision_width=1024,
        vision_patch_size=14,
        transformer_width=768,
        transformer_layers=12,
    ),
    "RN50": CLIPConfig(
        embed_dim=1024,
        image_resolution=224,
        vision_layers=(3, 4, 6, 3),
        vision_width=64,
        vision_patch_size=None,
        **TEXT,
    ),
}
# For `--quick`, under the names of those that they stand for.
_SMALL: dict[str, Any] = {"transformer_width": 64, "transformer_layers": 1}
TINY: dict[str, CLIPConfig] = {
    "ViT-B/32": CLIPConfig(
        embed_dim=32,
        image_resolution=32,
        vision_layers=2,
        vision_width=128,
        vision_patch_size=8,
        **_SMALL,
    ),
    "RN50": CLIPConfig(
        embed_dim=32,
        image_resolution=64,
        vision_layers=(1, 1, 1, 1),
        vision_width=8,
        vision_patch_size=None,
        **_SMALL,
    ),
}


def models(*, quick: bool) -> dict[str, CLIPConfig]:
    """The models of a run by name."""
    return TINY if quick else ARCHITECTURES


def checkpoint(name: str, folder: Path, *, quick: bool) -> Path:
    """The file of a model, written now if the folder lacks it."""
    path = folder / f"{name.replace('/', '-')}.pt"
    if not path.exists():
        part = path.with_suffix(".part")
        torch.save(openai_state(models(quick=quick)[name]), part)
        part.replace(path)
    return path


def openai_state(config: CLIPConfig) -> dict[str, Tensor]:
    """Random weights, float16, with the three numbers that OpenAI's archives carry."""
    with torch.device("meta"):
        shapes = CLIP(config).state_dict()
    pool = torch.empty(POOL).uniform_(-1, 1, generator=torch.Generator().manual_seed(0)).half()
    state = {}
    for number, (name, value) in enumerate(shapes.items()):
        state[name] = _weights(name, value, pool, number)
    numbers = {
        "input_resolution": config.image_resolution,
        "context_length": config.context_length,
        "vocab_size": config.vocab_size,
    }
    return state | {name: torch.tensor(value) for name, value in numbers.items()}


def _weights(name: str, like: Tensor, pool: Tensor, number: int) -> Tensor:
    """Values of a size that keeps activations alive to the end."""
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)  # a batch norm's counter
    if name == "logit_scale":
        return torch.tensor(LOGIT_SCALE)
    count = like.numel()
    start = number * 12_345 % POOL
    copies = -(-(start + count) // POOL)
    noise = pool.repeat(copies)[start : start + count].view(like.shape)
    if like.ndim == 1 and name.endswith(("weight", "running_var")):  # of norms
        return 1 + 0.2 * noise
    if like.ndim == 1 or "embedding" in name:
        return 0.3 * noise
    gain = 6.0 if like.ndim == 4 and "layer" in name else 3.0  # He's, where a ReLU follows
    return noise * (gain / like[0].numel()) ** 0.5
