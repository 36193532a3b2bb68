"""A model of open_clip's as a `DualEncoder`.

Axes: B images, N texts, T tokens, D embedding, R pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clip_engine.acceleration import Acceleration
from clip_engine.dual_encoder import TrainedWith
from clip_engine.errors import CheckpointError
from clip_engine.families.low_precision import LowPrecision, check_range
from clip_engine.families.open_clip_tokenizer import RowTokenizer
from clip_engine.formats.preprocessing import Preprocessing
from clip_engine.precision import Precision

STRIDE = 16  # of a convolutional tower's third stage, which does most of its work


class OpenClipDualEncoder:
    """Implements `DualEncoder`.

    Args:
        model: open_clip's, in eval mode, on the CPU, in float32; it is moved to `device`, and its
            image tower's weights are converted to `precision`.
        tokenizer: The model's.
        preprocessing: Of images.
        trained_with: The loss.
        device: Where both towers run.
        precision: Of the image tower's matrix products; its residual stream and norms, and the
            whole text tower, stay in float32.
        acceleration: Which accelerations are on.
        files: All files that determine results, weights first.
        settings: What determines results and is in no file.

    Attributes:
        image_tower: Maps pixels to features.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        model: Any,
        *,
        tokenizer: RowTokenizer,
        preprocessing: Preprocessing,
        trained_with: TrainedWith,
        device: torch.device,
        precision: Precision,
        acceleration: Acceleration,
        files: tuple[Path, ...] = (),
        settings: tuple[str, ...] = (),
    ) -> None:
        resolution = resolution_of(model.visual)
        self.device = device
        self.precision = precision
        self.transform = preprocessing.transform(resolution)
        self.normalisation = preprocessing.normalisation()
        self.image_tokens = image_tokens(model.visual, resolution)
        self.logit_scale = float(model.logit_scale.exp())
        self.logit_bias = 0.0 if model.logit_bias is None else float(model.logit_bias)
        self.trained_with = trained_with
        self.files = files
        self.settings = settings
        self._tokenizer = tokenizer
        self.image_tower, self._text = _towers(model, acceleration)
        self._padding = _masked_padding(self._text) if acceleration.trimmed_text else None
        self.image_tower.to(device)
        self._text.to(device)
        if precision != "float32":
            self.image_tower = LowPrecision(self.image_tower, getattr(torch, precision))
        with torch.inference_mode():
            self.embed_dim = self.encode_text(self.tokenize(["a"])).shape[1]
            if precision == "float16":
                check_range(self.image_tower, self.transform.resolution, device)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Features `[B, D]` of normalised float32 pixels `[B, 3, R, R]`; not normalised."""
        features: Tensor = self.image_tower(pixels)
        return features

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token numbers, int64 `[N, T]` on the CPU.

        Raises:
            TextTooLongError: A text has too many tokens; nothing is truncated.
        """
        return self._tokenizer.tokenize(texts)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features, float32 `[N, D]` on the device; not normalised."""
        if self._padding is not None:
            used = (tokens != self._padding).any(dim=0)  # [T]
            tokens = tokens[:, : int(used.nonzero().max()) + 1]
        features: Tensor = self._text(tokens.to(self.device))
        return features


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


def _towers(model: Any, acceleration: Acceleration) -> tuple[nn.Module, nn.Module]:
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
