"""Our own CLIP as a `DualEncoder`, with its accelerations.

Axes: B images, N texts, T tokens, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clip_engine.acceleration import AROUND_THE_MODEL, Acceleration, accelerate, shared_prefixes
from clip_engine.dual_encoder import TrainedWith
from clip_engine.families.low_precision import check_range
from clip_engine.formats.preprocessing import Preprocessing
from clip_engine.model import CLIP, CLIPConfig
from clip_engine.precision import Precision
from clip_engine.tokenizer import Tokenizer

OPENAI_PREPROCESSING = Preprocessing()
CPU = torch.device("cpu")
STRIDE = 16  # of a ResNet's third stage, which does most of its work


class ClipDualEncoder:
    """Implements `DualEncoder`.

    Args:
        model: In eval mode, on the CPU; it is moved to `device`, and its image tower's weights are
            converted to `precision`.
        tokenizer: The model's tokenizer.
        preprocessing: Of images, as in the model's training.
        device: Where both towers run.
        precision: Of the image tower's weights and matrix products; its residual stream and
            LayerNorm, and the whole text tower, stay in float32.
        acceleration: Which accelerations are on. By default those are off that change the model.

    Raises:
        Float16RangeError: The image tower's activations are too large for float16.

    Attributes:
        clip: The model.
    """

    logit_bias = 0.0
    trained_with: TrainedWith = "softmax"

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        model: CLIP,
        *,
        tokenizer: Tokenizer,
        preprocessing: Preprocessing = OPENAI_PREPROCESSING,
        device: torch.device = CPU,
        precision: Precision = "float32",
        acceleration: Acceleration = AROUND_THE_MODEL,
    ) -> None:
        self.device = device
        self.precision = precision
        self.transform = preprocessing.transform(model.config.image_resolution)
        self.normalisation = preprocessing.normalisation()
        self.embed_dim = model.config.embed_dim
        self.image_tokens = _image_tokens(model.config)
        self.clip = model.to(device)
        accelerate(model, acceleration, precision)
        if precision == "float16":
            check_range(model.visual, self.transform.resolution, device)
        self.logit_scale = float(model.logit_scale.detach().exp())
        self._tokenizer = tokenizer
        self._acceleration = acceleration

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Features `[B, D]` of normalised float32 pixels `[B, 3, R, R]`; not normalised."""
        return self.clip.encode_image(pixels)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token numbers, int64 `[N, T]`, zeros after the end mark.

        Raises:
            TextTooLongError: A text has too many tokens.
        """
        return self._tokenizer.tokenize(texts, context_length=self.clip.config.context_length)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features, float32 `[N, D]` on the device; not normalised."""
        if self._acceleration.shared_prefixes:
            return shared_prefixes.encode_text(self.clip, tokens)
        return self.clip.encode_text(tokens.to(self.device), trim=self._acceleration.trimmed_text)


def _image_tokens(config: CLIPConfig) -> int:
    return (config.image_resolution // (config.vision_patch_size or STRIDE)) ** 2 + 1
