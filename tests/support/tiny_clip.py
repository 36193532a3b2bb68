"""Random CLIP models that take milliseconds: what the engine does doesn't depend on their size."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from clip_engine.acceleration import AROUND_THE_MODEL, Acceleration
from clip_engine.engine import Engine, ModelIdentity
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.images.transform import ImageTransform
from clip_engine.model import CLIP, CLIPConfig, build_model
from clip_engine.preprocess import Preprocessor
from clip_engine.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

TINY_VIT = CLIPConfig(
    embed_dim=32,
    image_resolution=32,
    vision_layers=2,
    vision_width=128,
    vision_patch_size=8,
    transformer_width=64,
    transformer_layers=2,
)
TINY_RESNET = CLIPConfig(
    embed_dim=32,
    image_resolution=64,
    vision_layers=(1, 2, 1, 1),
    vision_width=8,
    vision_patch_size=None,
    transformer_width=64,
    transformer_layers=1,
)


def stir(model: nn.Module, seed: int) -> None:
    """Give every weight that starts as zero or one, and every batch statistic, a value of its own.

    As initialised, biases are zero, norms pass through and every bottleneck is its shortcut, so a
    mistake in any of these would not show.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if name.endswith(("running_var", "bn3.weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim == 4:
            value.mul_(6**0.5)  # to He's scale: at torch's, activations fade out with depth
        elif value.is_floating_point() and value.ndim == 1:  # biases and norms
            value.add_(0.1 * torch.randn(value.shape, generator=generator))


@cache
def tiny_state(config: CLIPConfig = TINY_VIT, seed: int = 0) -> dict[str, Tensor]:
    """Random weights, float32, in OpenAI's layout; don't change them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(config)
    with torch.no_grad():
        stir(model, seed)
    return model.state_dict()


@cache
def tokenizer() -> Tokenizer:
    """CLIP's own, built once."""
    return Tokenizer()


def tiny_engine(config: CLIPConfig = TINY_VIT, **options: Any) -> Engine:
    """An engine around random weights, on the CPU by default."""
    return engine_around(build_model(tiny_state(config)), **options)


def engine_around(
    model: CLIP,
    *,
    name: str = "tiny",
    acceleration: Acceleration = AROUND_THE_MODEL,
    buckets: Sequence[int] | None = None,
    replicas: int = 1,
    **encoding: Any,
) -> Engine:
    """An engine around a model; `encoding` are arguments of `ClipDualEncoder`."""
    return Engine(
        ClipDualEncoder(model, tokenizer=tokenizer(), acceleration=acceleration, **encoding),
        identity=ModelIdentity(name, "0" * 64),
        preprocessor=Preprocessor(ImageTransform(model.config.image_resolution)),
        buckets=buckets,
        acceleration=acceleration,
        replicas=replicas,
    )


def openai_state(config: CLIPConfig = TINY_VIT) -> dict[str, Tensor]:
    """Random weights with the three numbers that OpenAI's models carry."""
    marks = (config.image_resolution, config.context_length, config.vocab_size)
    names = ("input_resolution", "context_length", "vocab_size")
    return {
        **tiny_state(config),
        **{name: torch.tensor(mark) for name, mark in zip(names, marks, strict=True)},
    }


def write_tiny(
    folder: Path, name: str = "tiny.pt", config: CLIPConfig = TINY_VIT, **options: Any
) -> Path:
    """The checkpoint file of a small model, in OpenAI's format."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    state = {key: value.to(**options) for key, value in openai_state(config).items()}
    torch.save(state, file)
    return file
