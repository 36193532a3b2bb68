"""The towers of a model that open_clip has built, and what the engine needs to know of them.

Axes: R pixels a side.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from clip_engine.acceleration import Acceleration
from clip_engine.dual_encoder import TrainedWith
from clip_engine.errors import CheckpointError
from clip_engine.families.library_encoder import Towers

STRIDE = 16  # of a convolutional tower's third stage, which does most of its work


def open_clip_towers(model: Any, acceleration: Acceleration, trained_with: TrainedWith) -> Towers:
    """The towers of a model.

    Args:
        model: open_clip's, in eval mode, on the CPU, in float32; its towers are taken from it.
        acceleration: Which accelerations are on, of which `folded_batch_norm` and `trimmed_text`
            apply.
        trained_with: The loss.

    Raises:
        CheckpointError: Its images are not square.
    """
    resolution = resolution_of(model.visual)
    bias = model.logit_bias
    visual, text = _modules(model, acceleration)
    return Towers(
        image=visual,
        text=text,
        resolution=resolution,
        image_tokens=image_tokens(visual, resolution),
        logit_scale=float(model.logit_scale.exp()),
        logit_bias=0.0 if bias is None else float(bias),
        trained_with=trained_with,
        padding=_masked_padding(text) if acceleration.trimmed_text else None,
    )


def image_tokens(visual: Any, resolution: int) -> int:
    """Tokens of an image in a tower; for a convolutional one cells of its third stage."""
    if hasattr(visual, "grid_size"):  # open_clip's own ViT
        rows, columns = visual.grid_size
        return int(rows * columns) + 1
    trunk = getattr(visual, "trunk", None)  # timm's
    stages = [stage["reduction"] for stage in getattr(trunk, "feature_info", [])]
    stride = stages[:3][-1] if stages else STRIDE
    return int((resolution // stride) ** 2) + getattr(trunk, "num_prefix_tokens", 0)


def resolution_of(visual: Any) -> int:
    """R of an image tower.

    Raises:
        CheckpointError: Its images are not square.
    """
    # timm's fixed size counts: open_clip's config of ViTamin-XL-384 says 256
    patches = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    size = getattr(patches, "img_size", None) or visual.image_size
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) > 1:
        raise CheckpointError(
            f"The model takes images of {' x '.join(map(str, size))} pixels, and only square ones "
            "are supported; use another model."
        )
    return int(sides.pop())


def _modules(model: Any, acceleration: Acceleration) -> tuple[nn.Module, nn.Module]:
    """The image tower and the text tower, each a module that returns features alone."""
    visual = model.visual
    text = model.text if hasattr(model, "text") else _OwnText(model)
    for tower in (visual, text):
        if hasattr(tower, "output_tokens"):  # CoCa's decoder needs them
            tower.output_tokens = False
    if acceleration.folded_batch_norm and hasattr(visual, "trunk"):
        from timm.utils.model import reparameterize_model

        reparameterize_model(visual.trunk, inplace=True)
    return visual, text


def _masked_padding(text: Any) -> int | None:
    """The token that a text tower of transformers masks out, so that columns of it can be cut."""
    config = getattr(text, "config", None)
    return None if config is None else int(config.pad_token_id)


class _OwnText(nn.Module):
    """The text tower of `open_clip.CLIP`, whose parts are the model's own."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.model.visual = None

    def forward(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.model.encode_text(tokens)
        return features
