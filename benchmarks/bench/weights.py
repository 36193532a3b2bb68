"""Checkpoints of the true architectures with random weights, the same for every contender.

Speed does not depend on what weights are, as long as activations neither vanish nor overflow.
One Hugging Face folder is made and converted: the worker, the raw engine, open_clip and
transformers then hold the same model, and their answers can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.bench.hugging_face_tokenizer import write_tokenizer
from clip_engine.formats import read_checkpoint

TEMPERATURE = 4.6052  # logit scale as trained: a factor of 100
POOL = 4_000_037  # random numbers; a prime, so that no matrix has two equal rows


@dataclass(frozen=True)
class Architecture:
    """A published CLIP model.

    Attributes:
        name: OpenAI's.
        open_clip_name: OpenCLIP's.
        vision: Width, heads, layers, patch size.
        text: Width, heads, layers.
        embed_dim: D.
    """

    name: str
    open_clip_name: str
    vision: tuple[int, int, int, int]
    text: tuple[int, int, int]
    embed_dim: int


VIT_B_32 = Architecture("ViT-B/32", "ViT-B-32-quickgelu", (768, 12, 12, 32), (512, 8, 12), 512)
VIT_L_14 = Architecture("ViT-L/14", "ViT-L-14-quickgelu", (1024, 16, 24, 14), (768, 12, 12), 768)


@dataclass(frozen=True)
class Weights:
    """Where one model lies.

    Attributes:
        state_dict: A file that open_clip reads.
        folder: A folder that clip-worker and transformers read.
    """

    architecture: Architecture
    state_dict: Path
    folder: Path


def make_weights(architecture: Architecture, cache: Path) -> Weights:
    """The model's files, written now where the cache lacks them."""
    stem = architecture.name.replace("/", "-")
    weights = Weights(architecture, cache / f"{stem}.pt", cache / f"{stem}-hf")
    if not weights.state_dict.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _write_folder(architecture, weights.folder)
        part = weights.state_dict.with_suffix(".part")
        torch.save(read_checkpoint(weights.folder).build().state_dict(), part)
        part.replace(weights.state_dict)
    return weights


def _write_folder(architecture: Architecture, folder: Path) -> None:
    from transformers import CLIPImageProcessor, CLIPModel

    model = fill(CLIPModel(_config(architecture)))
    model.save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    write_tokenizer(folder)


def _config(architecture: Architecture) -> Any:
    from transformers import CLIPConfig

    width, heads, layers, patch = architecture.vision
    text_width, text_heads, text_layers = architecture.text
    vision = _tower(width, heads, layers) | {"patch_size": patch, "image_size": 224}
    # Its own defaults are those of a text tower of 512; end-of-text has the last number.
    text = _tower(text_width, text_heads, text_layers) | {"eos_token_id": 49407}
    return CLIPConfig(vision_config=vision, text_config=text, projection_dim=architecture.embed_dim)


def _tower(width: int, heads: int, layers: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "hidden_act": "quick_gelu",
    }


@torch.no_grad()
def fill(model: nn.Module) -> nn.Module:
    """Give every weight a random value, of a size that keeps activations alive to the end."""
    pool = torch.empty(POOL).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    for name, value in model.named_parameters():
        if name.endswith("logit_scale"):
            value.fill_(TEMPERATURE)
        elif value.ndim == 1 and name.endswith("weight"):  # norms
            value.copy_(1 + 0.2 * pool[: len(value)])
        else:
            copies = -(-value.numel() // POOL)
            value.copy_(
                pool.repeat(copies)[: value.numel()].view(value.shape) * _bound(name, value)
            )
            pool = pool.roll(12_345)
    return model.eval()


def _bound(name: str, value: torch.Tensor) -> float:
    if value.ndim == 1 or "embedding" in name:
        return 0.3
    return float((3.0 / value[0].numel()) ** 0.5)  # keeps the variance
