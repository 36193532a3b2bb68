"""The text tower as a machine: prompts in, unit features out.

Axes: N prompts, T tokens, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.acceleration import Acceleration, shared_prefixes
from clip_engine.inference.call_combiner import JointCalls
from clip_engine.inference.memory_limit import BatchLimit
from clip_engine.model import CLIP
from clip_engine.tokenizer import Tokenizer

TEXT_BATCH = 256  # prompts that pass the tower together


class TextTower:
    """Runs a model's text tower. Threads may share it: what they bring at a time passes together.

    Args:
        model: On its device.
        tokenizer: The model's.
        device: Where the model is.
        pieces: Which accelerations are in use.
        at_once: Batches that pass at the same time, each on the thread of one who waits for it.
    """

    def __init__(
        self,
        model: CLIP,
        *,
        tokenizer: Tokenizer,
        device: torch.device,
        pieces: Acceleration,
        at_once: int = 1,
    ) -> None:
        self.limit = BatchLimit(TEXT_BATCH, "prompts")
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._pieces = pieces
        self._together = JointCalls(self._encode_rows, most=TEXT_BATCH, at_once=at_once)

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Encode prompts; the last bits may depend on what else passes.

        Args:
            prompts: N of them, any number.

        Returns:
            float32 `[N, D]`, each row of length 1, on the CPU.

        Raises:
            TextTooLongError: One has too many tokens; nothing was encoded.
            ClipEngineError: The device's memory doesn't hold a single prompt.
            DeviceLostError: The device is gone.
        """
        length = self._model.config.context_length
        return self._together(list(self._tokenizer.tokenize(prompts, context_length=length)))

    @torch.inference_mode()
    def encode_tokens(self, rows: Sequence[Tensor]) -> Tensor:
        """One pass of the tower.

        Args:
            rows: Up to 256 of int64 `[T]` on the CPU, from the tokenizer.

        Returns:
            float32 `[N, D]`, not normalised, on the CPU.
        """
        tokens = torch.stack(list(rows))  # [N, T]
        if self._pieces.shared_prefixes:
            return shared_prefixes.encode_text(self._model, tokens).cpu()
        tokens = tokens.to(self._device)
        return self._model.encode_text(tokens, trim=self._pieces.trimmed_text).cpu()

    @torch.inference_mode()
    def _encode_rows(self, rows: Sequence[Tensor]) -> Tensor:
        features = self.limit.run(rows, lambda chunk, _: self.encode_tokens(chunk))
        return functional.normalize(torch.cat(features), dim=-1)
