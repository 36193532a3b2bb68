"""Runs the text tower on prompts, combining the calls of several threads.

Axes: N prompts, T tokens, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.dual_encoder import DualEncoder
from clip_engine.inference.call_combiner import CallCombiner
from clip_engine.inference.memory_limit import BatchLimit

TEXT_BATCH = 256  # prompts in a forward pass


class TextEncoder:
    """Encodes prompts with a model's text tower. Thread-safe; concurrent calls share batches.

    Args:
        model: The model.
        at_once: Number of batches that may run at the same time, each in a calling thread.
    """

    def __init__(self, model: DualEncoder, *, at_once: int = 1) -> None:
        self.limit = BatchLimit(TEXT_BATCH, "prompts")
        self._model = model
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
        return self._combined(list(self._model.tokenize(prompts)))

    @torch.inference_mode()
    def encode_tokens(self, rows: Sequence[Tensor]) -> Tensor:
        """Run one forward pass.

        Args:
            rows: Up to 256 rows from the tokenizer, int64 `[T]` each, on the CPU.

        Returns:
            float32 `[N, D]`, not normalised, on the CPU.
        """
        return self._model.encode_text(torch.stack(list(rows))).cpu()

    @torch.inference_mode()
    def _encode_rows(self, rows: Sequence[Tensor]) -> Tensor:
        features = self.limit.run(rows, lambda chunk, _: self.encode_tokens(chunk))
        return functional.normalize(torch.cat(features), dim=-1)
