"""Which accelerations are on, and how they are applied to a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch

from clip_engine.acceleration.convolutional import compiled, use_channels_last
from clip_engine.acceleration.folded_batch_norm import fold_batch_norms
from clip_engine.acceleration.int8 import use_int8
from clip_engine.acceleration.linear_patches import use_linear_patches
from clip_engine.acceleration.prepacked import prepack
from clip_engine.acceleration.quick_gelu import fold_quick_gelu
from clip_engine.errors import InputError
from clip_engine.model import CLIP
from clip_engine.model.layers import store_weights
from clip_engine.precision import Precision


@dataclass(frozen=True, kw_only=True)
class Acceleration:
    """Options that make the encoders faster. All but `compiled` are on by default.

    Attributes:
        linear_patches: Compute a ViT's patch embedding as a matrix product, not as a convolution.
        folded_gelu: Compute QuickGELU as SiLU, with its factor folded into the adjacent weights.
        folded_batch_norm: Fold a ResNet's batch norms into its convolutions, and merge the branches
            of a MobileCLIP's convolutions.
        prepacked: Store linear weights in oneDNN's own memory order; CPU only.
        trimmed_text: Compute texts up to the longest one's end mark, not the whole context.
        shared_prefixes: Compute beginnings that texts share only once; implies `trimmed_text`.
        cached_text: Keep a label's feature for later calls.
        pinned_upload: Copy pixels to the GPU from page-locked memory; CUDA only.
        cuda_graphs: Record each bucket's forward pass once and replay it; CUDA only.
        channels_last: Compute a ResNet in the memory order that tensor cores read; CUDA only.
        compiled: Let torch compile a ResNet, which makes the start longer; CUDA only.
    """

    linear_patches: bool = True
    folded_gelu: bool = True
    folded_batch_norm: bool = True
    prepacked: bool = True
    trimmed_text: bool = True
    shared_prefixes: bool = True
    cached_text: bool = True
    pinned_upload: bool = True
    cuda_graphs: bool = True
    channels_last: bool = True
    compiled: bool = False

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the options that are on by default."""
        return tuple(field.name for field in dataclasses.fields(cls) if field.default)

    @classmethod
    def without(cls, disabled: Iterable[str]) -> Self:
        """The default options but these.

        Raises:
            InputError: A name is unknown.
        """
        names = tuple(disabled)
        for name in names:
            if name not in cls.names():
                raise InputError(
                    f"Unknown acceleration {name!r}; give one of {', '.join(cls.names())}."
                )
        return cls(**dict.fromkeys(names, False))


PLAIN = Acceleration.without(Acceleration.names())
# Leaves the modules and the weights of the caller's model as they are.
AROUND_THE_MODEL = Acceleration.without(
    ("linear_patches", "folded_gelu", "folded_batch_norm", "prepacked", "channels_last")
)


def accelerate(model: CLIP, options: Acceleration, precision: Precision) -> None:
    """Convert the image encoder's weights to `precision` and apply the options to the model.

    Args:
        model: In eval mode, on its device. `linear_patches`, `folded_gelu`, `folded_batch_norm`
            and `prepacked` change it: its state dict is then no longer a checkpoint's.
        options: Those that don't concern the model itself are ignored.
        precision: Of the image encoder's matrix products.
    """
    if options.linear_patches:
        use_linear_patches(model.visual)
    if options.folded_gelu:
        fold_quick_gelu(model)
    if options.folded_batch_norm:
        fold_batch_norms(model.visual)
    # After folding, to round only once.
    if precision == "int8":
        use_int8(model.visual)
    else:
        store_weights(model.visual, getattr(torch, precision))
    device = model.logit_scale.device.type
    if options.prepacked and device == "cpu":
        prepack(model)  # last: packed weights can't be changed
    if options.channels_last and device == "cuda":
        use_channels_last(model.visual)
    if options.compiled and device == "cuda":
        model.visual = compiled(model.visual)  # type: ignore[assignment]  # it is called alike
