"""CUDA graphs: the forward pass of each batch size is recorded once and replayed.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs. A graph reads and writes fixed
memory addresses, so each bucket has a graph of its own, and only one is replayed at a time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.9999  # of replayed to plain features; that of float16 to float32 is higher
WARM_RUNS = 3  # before recording, because libraries initialise lazily

Forward = Callable[[Tensor], Tensor]


class BucketGraphs:
    """Recorded forward passes by batch size; initially none. Thread-safe.

    Args:
        forward: Maps uint8 pixels `[B, 3, R, R]` on the device to features `[B, D]`.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._graphs: dict[int, _Graph] = {}
        self._lock = threading.Lock()

    def record(self, batches: Sequence[Tensor]) -> None:
        """Record the forward pass at each batch's size, and compare replayed and plain features.

        If that fails for any size, a warning is logged and `run` uses no graphs at all.

        Args:
            batches: uint8 `[B, 3, R, R]` each, on the device, such as noise.
        """
        try:
            graphs = self._recorded(batches)
        except RuntimeError as error:  # if the device is lost, the next forward pass will fail too
            logger.warning("CUDA graphs could not be recorded and are not used: %s", error)
            return
        self._graphs = graphs

    def run(self, pixels: Tensor) -> Tensor:
        """Replay the graph of this batch's size, or run the forward pass if there is none.

        Args:
            pixels: uint8 `[B, 3, R, R]` on the device.
        """
        graph = self._graphs.get(len(pixels))
        if graph is None:
            return self._forward(pixels)
        with self._lock:
            return graph.replay(pixels)

    def _recorded(self, batches: Sequence[Tensor]) -> dict[int, _Graph]:
        graphs: dict[int, _Graph] = {}
        pool = torch.cuda.graph_pool_handle()  # shared, because only one graph runs at a time
        # Largest first, so that the smaller ones reuse its memory.
        for pixels in sorted(batches, key=len, reverse=True):
            with torch.cuda.device(pixels.device):
                graph = _Graph(self._forward, pixels, pool)
                _check(graph.replay(pixels), self._forward(pixels))
            graphs[len(pixels)] = graph
        return graphs


class _Graph:
    """One recorded forward pass, with the memory that it reads and writes."""

    def __init__(self, forward: Forward, pixels: Tensor, pool: Any) -> None:
        self._input = pixels.clone()
        self._warm(forward)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._output = forward(self._input)

    def replay(self, pixels: Tensor) -> Tensor:
        self._input.copy_(pixels)
        self._graph.replay()
        return self._output.clone()  # the next replay, of any size, may overwrite it

    def _warm(self, forward: Forward) -> None:
        # On a side stream, as torch's notes require: nothing may initialise while recording.
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it bare
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_RUNS):
                forward(self._input)
        torch.cuda.current_stream().wait_stream(side)


def _check(replayed: Tensor, plain: Tensor) -> None:
    cosine = float(functional.cosine_similarity(replayed.float(), plain.float(), dim=-1).min())
    if not cosine >= LEAST_COSINE:  # not "<": NaN must fail too
        raise RuntimeError(
            f"replayed and plain features of {len(plain)} images have a cosine of only {cosine}"
        )
