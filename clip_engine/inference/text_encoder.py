"""Runs the text tower on prompts, combining the calls of several threads.

Axes: N prompts, T tokens, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.acceleration import Acceleration, shared_prefixes
from clip_engine.inference.call_combiner import CallCombiner
from clip_engine.inference.memory_limit import BatchLimit
from clip_engine.model import CLIP
from clip_engine.tokenizer import Tokenizer

TEXT_BATCH = 256  # prompts in a forward pass


class TextEncoder:
    """Encodes prompts with a model's text tower. Thread-safe; concurrent calls share batches.

    Args:
        model: On its device.
        tokenizer: The model's.
        device: The model's device.
        acceleration: Which accelerations are on.
        at_once: Number of batches that may run at the same time, each in a calling thread.
    """

    def __init__(
        self,
        model: CLIP,
        *,
        tokenizer: Tokenizer,
        device: torch.device,
        acceleration: Acceleration,
        at_once: int = 1,
    ) -> None:
        self.limit = BatchLimit(TEXT_BATCH, "prompts")
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._acceleration = acceleration
        self._combined = CallCombiner(self._encode_rows, most=TEXT_BATCH, at_once=at_once)

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Encode prompts; the last bits may depend on the rest of the batch.

        Args:
            prompts: N of them, any number.

        Returns:
            float32 `[N, D]`, each row of length 1, on the CPU.

        Raises:
            TextTooLongError: A prompt has too many tokens; none was encoded.
            DeviceMemoryError: Not even one prompt fits into the device's memory.
            DeviceLostError: The device failed for good.
        """
        length = self._model.config.context_length
        return self._combined(list(self._tokenizer.tokenize(prompts, context_length=length)))

    @torch.inference_mode()
    def encode_tokens(self, rows: Sequence[Tensor]) -> Tensor:
        """Run one forward pass.

        Args:
            rows: Up to 256 rows from the tokenizer, int64 `[T]` each, on the CPU.

        Returns:
            float32 `[N, D]`, not normalised, on the CPU.
        """
        tokens = torch.stack(list(rows))  # [N, T]
        if self._acceleration.shared_prefixes:
            return shared_prefixes.encode_text(self._model, tokens).cpu()
        tokens = tokens.to(self._device)
        return self._model.encode_text(tokens, trim=self._acceleration.trimmed_text).cpu()

    @torch.inference_mode()
    def _encode_rows(self, rows: Sequence[Tensor]) -> Tensor:
        features = self.limit.run(rows, lambda chunk, _: self.encode_tokens(chunk))
        return functional.normalize(torch.cat(features), dim=-1)
