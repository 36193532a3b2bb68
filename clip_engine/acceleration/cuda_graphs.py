"""CUDA graphs: a forward pass of one batch size is recorded once and replayed.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs. A graph reads and writes fixed
memory, so there is one for each bucket, and one replay at a time.
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

LEAST_COSINE = 0.9999  # of a replayed feature to the plain path's; float16's to float32 is higher
WARM_RUNS = 3  # before recording, for libraries set themselves up lazily

Forward = Callable[[Tensor], Tensor]


class BucketGraphs:
    """Recorded forwards by batch size, none at first. Threads may share it.

    Args:
        forward: From uint8 pixels `[B, 3, R, R]` on the device to features `[B, D]`.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._graphs: dict[int, _Graph] = {}
        self._lock = threading.Lock()

    def record(self, batches: Sequence[Tensor]) -> None:
        """Record the forward at the size of each batch, and compare it with the plain one.

        If any fails, one warning says so, and `run` takes the plain path for all sizes.

        Args:
            batches: uint8 `[B, 3, R, R]` each, on the device; noise will do.
        """
        try:
            graphs = self._recorded(batches)
        except RuntimeError as error:  # of a device that is gone, too: the next forward will tell
            logger.warning("CUDA graphs are not used, for recording them failed: %s", error)
            return
        self._graphs = graphs

    def run(self, pixels: Tensor) -> Tensor:
        """Replay this batch's size, or run the forward if it was not recorded.

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
        pool = torch.cuda.graph_pool_handle()  # one memory for all, for one runs at a time
        # Largest first, so that the smaller ones find their memory in the pool.
        for pixels in sorted(batches, key=len, reverse=True):
            with torch.cuda.device(pixels.device):
                graph = _Graph(self._forward, pixels, pool)
                _check(graph.replay(pixels), self._forward(pixels))
            graphs[len(pixels)] = graph
        return graphs


class _Graph:
    """One recorded forward with the memory that it reads and writes."""

    def __init__(self, forward: Forward, pixels: Tensor, pool: Any) -> None:
        self._input = pixels.clone()
        self._warm(forward)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._output = forward(self._input)

    def replay(self, pixels: Tensor) -> Tensor:
        self._input.copy_(pixels)
        self._graph.replay()
        return self._output.clone()  # the next replay, of whatever size, may overwrite it

    def _warm(self, forward: Forward) -> None:
        # On a stream of its own, as torch's notes ask: nothing lazy may run while recording.
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
            f"of {len(plain)} pictures, replayed features have cosine {cosine} to the plain ones"
        )
