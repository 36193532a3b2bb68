"""A model that another library has built, as a `DualEncoder`.

Axes: B images, N texts, T tokens, D embedding, R pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from clip_engine.acceleration.int8 import use_int8
from clip_engine.dual_encoder import TrainedWith
from clip_engine.families.low_precision import LowPrecision, check_range
from clip_engine.families.open_clip_tokenizer import RowTokenizer
from clip_engine.formats.preprocessing import Preprocessing
from clip_engine.precision import Precision


@dataclass(frozen=True, kw_only=True)
class Towers:
    """A library's model in parts, in eval mode, on the CPU, in float32.

    Attributes:
        image: Maps normalised pixels `[B, 3, R, R]` to features `[B, D]`.
        text: Maps tokens `[N, T]` to features `[N, D]`.
        resolution: R.
        image_tokens: Tokens of an image in the image tower.
        logit_scale: Factor of the cosines, its exponential taken.
        logit_bias: Added to the scaled cosines.
        trained_with: The loss.
        padding: The token at the end of texts that changes no feature, so that columns of it are
            cut; None to compute the whole context.
    """

    image: nn.Module
    text: nn.Module
    resolution: int
    image_tokens: int
    logit_scale: float
    logit_bias: float
    trained_with: TrainedWith
    padding: int | None


class LibraryDualEncoder:
    """Implements `DualEncoder`.

    Args:
        towers: The model; it is moved to `device`, and its image tower's weights are converted to
            `precision`.
        tokenizer: The model's.
        preprocessing: Of images.
        device: Where both towers run.
        precision: Of the image tower's matrix products; its residual stream and norms, and the
            whole text tower, stay in float32.
        files: All files that determine results, weights first.
        settings: What determines results and is in no file.

    Raises:
        Float16RangeError: The image tower's activations are too large for float16.

    Attributes:
        image_tower: Maps pixels to features.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        towers: Towers,
        *,
        tokenizer: RowTokenizer,
        preprocessing: Preprocessing,
        device: torch.device,
        precision: Precision,
        files: tuple[Path, ...] = (),
        settings: tuple[str, ...] = (),
    ) -> None:
        self.device = device
        self.precision = precision
        self.transform = preprocessing.transform(towers.resolution)
        self.normalisation = preprocessing.normalisation()
        self.image_tokens = towers.image_tokens
        self.logit_scale = towers.logit_scale
        self.logit_bias = towers.logit_bias
        self.trained_with = towers.trained_with
        self.files = files
        self.settings = settings
        self._tokenizer = tokenizer
        self._padding = towers.padding
        self._text = towers.text.to(device)
        self.image_tower = towers.image.to(device)
        if precision == "int8":
            use_int8(self.image_tower)
        elif precision != "float32":
            self.image_tower = LowPrecision(self.image_tower, getattr(torch, precision))
        with torch.inference_mode():
            self.embed_dim = self.encode_text(self.tokenize(["a"])).shape[1]
            if precision == "float16":
                check_range(self.image_tower, towers.resolution, device)

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
