"""Other people's CLIP models, with random weights, and how to compare answers with theirs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import open_clip
import torch
from support.tiny_clip import tokenizer
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clip_engine.model import CLIP

PROMPTS = (
    "a photo of a cat.",
    "a photo of a dog.",
    "",
    "a diagram of the human heart, labelled by hand in 1923, with notes on the margin",
    "x",
)
TEMPERATURE = 4.6052  # logit scale as trained: a factor of 100
SIGMOID_BIAS = -10.0  # as SigLIP's begins
POOL = 4_000_037  # random numbers; a prime, so that no matrix has two equal rows


@dataclass(frozen=True)
class Answers:
    """What a model makes of images and texts: features of length 1, and logits."""

    images: Tensor
    texts: Tensor
    logits: Tensor


@torch.no_grad()
def fill(model: nn.Module, seed: int) -> nn.Module:
    """Give every weight a random value, of a size that keeps activations alive through the depth.

    As initialised, biases are zero, norms pass through and every bottleneck is its shortcut, so a
    mistake in any of these would not show.
    """
    generator = torch.Generator().manual_seed(seed)
    pool = torch.empty(POOL).uniform_(-1, 1, generator=generator)
    start = 0
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            value.zero_()
        elif name.endswith("logit_scale"):
            value.fill_(TEMPERATURE)
        elif name.endswith("logit_bias"):
            value.fill_(SIGMOID_BIAS)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim == 1 and name.endswith("weight"):  # norms; a bottleneck's last is smaller
            low, high = (0.1, 0.4) if name.endswith("bn3.weight") else (0.8, 1.2)
            value.uniform_(low, high, generator=generator)
        else:
            value.copy_(_draw(pool, start, value.shape)).mul_(_bound(name, value))
            start = (start + value.numel()) % POOL
    return model.eval()


def _draw(pool: Tensor, start: int, shape: torch.Size) -> Tensor:
    """As many of the pool's numbers, over and over: drawing each anew takes seconds a model."""
    end = start + shape.numel()
    if end > POOL:
        pool = pool.repeat(-(-end // POOL))
    return pool[start:end].view(shape)


def _bound(name: str, value: Tensor) -> float:
    if value.ndim == 1 or "embedding" in name:
        return 0.3
    gain = 6.0 if value.ndim == 4 else 3.0  # He's for ReLU behind, else variance kept
    return (gain / value[0].numel()) ** 0.5


def open_clip_model(config: dict[str, Any], seed: int) -> Any:
    """OpenCLIP's model of this config, its weights random."""
    with torch.device("meta"):  # its own initialisation takes seconds
        oracle = open_clip.CLIP(**config)
    oracle.to_empty(device="cpu")
    oracle.attn_mask.copy_(_causal_mask(oracle.context_length))
    return fill(oracle, seed)


@cache
def _causal_mask(context_length: int) -> Tensor:
    """OpenCLIP's own, which is a buffer but no part of the state dict."""
    return open_clip.CLIP(
        embed_dim=8,
        vision_cfg={"image_size": 8, "layers": 1, "width": 64, "patch_size": 8},
        text_cfg={
            "context_length": context_length,
            "vocab_size": 8,
            "width": 64,
            "heads": 1,
            "layers": 1,
        },
    ).attn_mask


def pictures(resolution: int) -> Tensor:
    """Noise and a ramp, `[2, 3, R, R]`, as normalised pixels."""
    noise = torch.randn(3, resolution, resolution, generator=torch.Generator().manual_seed(1))
    ramp = torch.linspace(-2, 2, resolution).expand(3, resolution, resolution)
    return torch.stack([noise, ramp])


@torch.inference_mode()
def our_answers(model: CLIP) -> Answers:
    """Of the model under test."""
    pixels = pictures(model.config.image_resolution)
    tokens = tokenizer().tokenize(PROMPTS, context_length=model.config.context_length)
    images, texts = _unit(model.encode_image(pixels)), _unit(model.encode_text(tokens))
    return Answers(images, texts, model.logit_scale.exp() * images @ texts.T)


@torch.inference_mode()
def open_clip_answers(oracle: Any) -> Answers:
    """Of an OpenCLIP model."""
    size = oracle.visual.image_size
    pixels = pictures(size if isinstance(size, int) else size[0])
    tokens = tokenizer().tokenize(PROMPTS, context_length=oracle.context_length)
    images, texts = _unit(oracle.encode_image(pixels)), _unit(oracle.encode_text(tokens))
    return Answers(images, texts, oracle.logit_scale.exp() * images @ texts.T)


@torch.inference_mode()
def hugging_face_answers(oracle: Any) -> Answers:
    """Of a transformers.CLIPModel."""
    pixels = pictures(oracle.config.vision_config.image_size)
    tokens = tokenizer().tokenize(PROMPTS)
    reported = oracle(input_ids=tokens, pixel_values=pixels)
    return Answers(reported.image_embeds, reported.text_embeds, reported.logits_per_image)


def _unit(features: Tensor) -> Tensor:
    return functional.normalize(features, dim=-1)


def assert_agree(ours: Answers, theirs: Answers) -> None:
    """To within 1e-5 in features and 1e-3 in logits; the same five best, in order."""
    assert (ours.images - theirs.images).abs().max() < 1e-5
    assert (ours.texts - theirs.texts).abs().max() < 1e-5
    assert (ours.logits - theirs.logits).abs().max() < 1e-3
    assert torch.equal(ours.logits.topk(5).indices, theirs.logits.topk(5).indices)
    # and neither images nor texts are all the same, which would hide a mistake
    assert (theirs.images[0] - theirs.images[1]).abs().max() > 1e-3
    assert (theirs.texts[0] - theirs.texts[1]).abs().max() > 1e-3
