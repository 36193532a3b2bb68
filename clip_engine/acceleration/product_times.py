"""How long a matrix product takes on this CPU in each precision."""

from __future__ import annotations

import time

import torch
from torch import nn

from clip_engine.acceleration.int8 import use_int8
from clip_engine.acceleration.prepacked import prepack
from clip_engine.model.layers import Linear, store_weights
from clip_engine.precision import Precision

ROWS, WIDTH = 256, 768  # of a product, as in ViT-B/32
ROUNDS = 5


@torch.inference_mode()
def product_times_s(precisions: tuple[Precision, ...]) -> list[float]:
    """Seconds of a matrix product in each precision, the least of a few rounds that take turns."""
    x, layers = torch.randn(ROWS, WIDTH), [_layer(precision) for precision in precisions]
    times: list[list[float]] = [[] for _ in layers]
    for _ in range(ROUNDS):
        for layer, taken in zip(layers, times, strict=True):
            start = time.perf_counter()
            layer(x)
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def _layer(precision: Precision) -> nn.Module:
    tower = nn.Sequential(Linear(WIDTH, WIDTH))
    if precision == "int8":
        use_int8(tower)
    else:
        store_weights(tower, getattr(torch, precision))
        prepack(tower)
    return tower
