"""Convolutional image towers on a GPU: memory order, and torch's compiler."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from clip_engine.model.resnet import ModifiedResNet

logger = logging.getLogger(__name__)


def use_channels_last(tower: nn.Module) -> None:
    """Store a ResNet's weights as `[out, h, w, in]`, so that it computes in that order.

    Tensor cores read it so; otherwise each convolution would be transposed before and after. A ViT
    stays as it is.
    """
    if isinstance(tower, ModifiedResNet):
        tower.to(memory_format=torch.channels_last)


def compiled(tower: nn.Module) -> nn.Module:
    """A ResNet that torch compiles when it is first called; a ViT stays as it is."""
    return CompiledTower(tower) if isinstance(tower, ModifiedResNet) else tower


class CompiledTower(nn.Module):
    """Equivalent of a tower, by torch's compiler: once for all batch sizes above one image.

    Where it can't be compiled, a warning is logged and the tower runs as it is.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self._compiled: nn.Module | None = torch.compile(tower)  # type: ignore[assignment]

    def forward(self, pixels: Tensor) -> Tensor:
        """Features `[B, D]` of normalised pixels `[B, 3, R, R]`."""
        if self._compiled is None or len(pixels) == 1:  # which would be compiled once more
            return self.tower(pixels)  # type: ignore[no-any-return]  # nn.Module.__call__ is Any
        torch._dynamo.mark_dynamic(pixels, 0)  # noqa: SLF001  # torch's own documentation has it
        try:
            return self._compiled(pixels)  # type: ignore[no-any-return]  # as above
        except torch._dynamo.exc.TorchDynamoException as error:  # noqa: SLF001  # as above
            self._compiled = None
            reason = str(error).strip().partition("\n")[0]
            logger.warning("The image tower can't be compiled and runs as it is (%s).", reason)
        return self.tower(pixels)  # type: ignore[no-any-return]  # as above
