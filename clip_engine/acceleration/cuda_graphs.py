"""CUDA graphs: the forward pass of each batch size is recorded once and replayed.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs. A graph reads and writes fixed
memory addresses. All graphs here share one input and one memory pool, so only one runs at a time,
on one stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LEAST_COSINE = 0.9999  # of replayed to plain features; that of float16 to float32 is higher
WARM_RUNS = 3  # before recording, because libraries initialise lazily

Forward = Callable[[Tensor], Tensor]


class BucketGraphs:
    """Recorded forward passes by batch size; initially none. For one thread at a time.

    Args:
        forward: Maps uint8 pixels `[B, 3, R, R]` on the device to features `[B, D]`.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._graphs: dict[int, _Graph] = {}

    @property
    def sizes(self) -> tuple[int, ...]:
        """The recorded batch sizes, ascending."""
        return tuple(sorted(self._graphs))

    def record(self, pixels: Tensor, sizes: Sequence[int]) -> None:
        """Record the forward pass at each size, and compare replayed and plain features.

        Graphs that were recorded before are dropped; if this fails, no graph is left.

        Args:
            pixels: uint8 `[B, 3, R, R]` on the device, such as noise; as many as the largest size.
            sizes: Batch sizes.

        Raises:
            RuntimeError: A size can't be recorded, or its features differ.
        """
        self.drop()
        graphs: dict[int, _Graph] = {}
        with torch.cuda.device(pixels.device):
            pool = torch.cuda.graph_pool_handle()
            batch = pixels.clone()  # what all graphs read
            for size in sorted(sizes, reverse=True):  # so that the smaller ones reuse its memory
                graph = graphs[size] = _Graph(self._forward, batch[:size], pool)
                _check(graph.replay(pixels[:size]), self._forward(pixels[:size]))
        self._graphs = graphs

    def drop(self) -> None:
        """Forget all graphs and free their memory; none may be running."""
        self._graphs = {}
        torch.cuda.empty_cache()

    def run(self, pixels: Tensor) -> Tensor:
        """Replay the graph of this batch's size, or run the forward pass if there is none.

        Args:
            pixels: uint8 `[B, 3, R, R]` on the device.

        Returns:
            `[B, D]`, which the next run overwrites: read it before that, on the same stream.
        """
        graph = self._graphs.get(len(pixels))
        return self._forward(pixels) if graph is None else graph.replay(pixels)


class _Graph:
    """One recorded forward pass, with the memory that it reads and writes."""

    def __init__(self, forward: Forward, pixels: Tensor, pool: Any) -> None:
        self._input = pixels
        self._warm(forward)
        self._graph = torch.cuda.CUDAGraph()
        # The outer block restores the stream even where ending a failed recording fails too. Other
        # threads may use the device meanwhile, hence "thread_local".
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"),
        ):
            self._output = forward(self._input)

    def replay(self, pixels: Tensor) -> Tensor:
        self._input.copy_(pixels)
        self._graph.replay()
        return self._output

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
