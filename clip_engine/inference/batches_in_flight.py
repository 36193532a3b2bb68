"""Runs batches on a device so that one is uploaded while another computes.

Each thread copies its images into page-locked memory and uploads them on a stream of its own.
Forward passes run in order on one stream, each after its upload. A thread waits for its own batch
only, so the next batch is enqueued while one computes.

Axes: B images, D embedding, R pixels a side.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.inference.device_errors import is_device_lost

logger = logging.getLogger(__name__)


class BatchesInFlight:
    """Encodes batches of several threads. Thread-safe.

    Args:
        encode: Maps uint8 pixels `[S, 3, R, R]` to features `[S, D]`, both on the device. It
            enqueues work on the current stream, for one thread at a time; its result is read before
            it is called again.
        device: Of `encode`.
        most: Batches that may be in flight at the same time; further threads wait.
        pinned: Whether transfers use page-locked memory.
    """

    def __init__(
        self, encode: Callable[[Tensor], Tensor], device: torch.device, *, most: int, pinned: bool
    ) -> None:
        self.most = most
        self._encode = encode
        self._device = device
        self._module: Any = torch.get_device_module(device)
        self._pinned = pinned
        self._order = threading.Lock()  # of the forward passes
        # First in, first out, so that a warm-up of as many batches allocates all of them.
        self._free: SimpleQueue[_Buffers | None] = SimpleQueue()
        for _ in range(most):
            self._free.put(None)

    def run(self, pixels: Sequence[Tensor], size: int) -> Tensor:
        """Encode a batch.

        Args:
            pixels: B images, uint8 `[3, R, R]` each, on the CPU; at least one.
            size: Rows of the batch; those after the images are black.

        Returns:
            float32 `[B, D]`, each row of length 1, on the CPU.
        """
        buffers = self._free.get()
        try:
            if buffers is None or buffers.size < size:
                buffers = None  # frees its memory first
                buffers = _Buffers(self._device, (size, *pixels[0].shape), self._new_host_memory)
            features = self._run(buffers, pixels, size)
        except BaseException:
            buffers = None  # work that was enqueued may still use them
            raise
        finally:
            self._free.put(buffers)
        return features

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let no forward pass run inside the block."""
        with self._order:
            self._module.synchronize(self._device)
            yield

    def _run(self, buffers: _Buffers, pixels: Sequence[Tensor], size: int) -> Tensor:
        buffers.upload(pixels, size)
        with self._order:
            stream = self._module.current_stream(self._device)
            stream.wait_event(buffers.uploaded)
            features = self._encode(buffers.pixels[:size])[: len(pixels)]
            features = functional.normalize(features.float(), dim=-1)
            if buffers.features is None:
                buffers.features = self._new_host_memory(
                    (buffers.size, features.shape[1]), torch.float32
                )
            buffers.features[: len(pixels)].copy_(features, non_blocking=True)
            buffers.computed.record(stream)
        buffers.computed.synchronize()  # sleeps, without the GIL
        return buffers.features[: len(pixels)].clone()

    def _new_host_memory(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Page-locked if that is wanted and possible."""
        if self._pinned:
            try:
                return torch.empty(shape, dtype=dtype, pin_memory=True)
            except RuntimeError as error:
                if is_device_lost(error):
                    raise
                self._pinned = False
                logger.warning(
                    "Page-locked memory can't be allocated (%s), so transfers to %s are slower; "
                    "free some of the host's memory.",
                    str(error).partition("\n")[0],
                    self._device,
                )
        return torch.empty(shape, dtype=dtype)


class _Buffers:
    """The memory of one batch in flight, its upload stream and its events.

    Args:
        device: Where batches run.
        shape: `[S, 3, R, R]` for batches of up to S images.
        new_host_memory: Allocates on the CPU.

    Attributes:
        size: S.
        pixels: uint8 `[S, 3, R, R]` on the device.
        features: float32 `[S, D]` on the CPU; None before the first batch.
        uploaded: Recorded after each upload.
        computed: Recorded after each batch's features were copied back.
    """

    def __init__(
        self,
        device: torch.device,
        shape: tuple[int, ...],
        new_host_memory: Callable[[tuple[int, ...], torch.dtype], Tensor],
    ) -> None:
        self.size = shape[0]
        self._module: Any = torch.get_device_module(device)
        self._stream = self._module.Stream(device)
        self._staging = new_host_memory(shape, torch.uint8)
        with self._module.stream(self._stream):  # whose memory no other stream reuses
            self.pixels = torch.empty(shape, dtype=torch.uint8, device=device)
        self.features: Tensor | None = None
        self.uploaded = self._module.Event()
        # A thread that waits for an event spins, unless the event is a blocking one.
        self.computed = self._module.Event(**{"blocking": True} if device.type == "cuda" else {})

    def upload(self, pixels: Sequence[Tensor], size: int) -> None:
        """Enqueue the upload of a batch; the one before must have been computed."""
        stack_padded(pixels, self._staging[:size])
        with self._module.stream(self._stream):
            self.pixels[:size].copy_(self._staging[:size], non_blocking=True)
            self.uploaded.record(self._stream)


def stack_padded(pixels: Sequence[Tensor], batch: Tensor) -> None:
    """Copy images into the first rows of a batch, and make the others black."""
    torch.stack(list(pixels), out=batch[: len(pixels)])
    batch[len(pixels) :] = 0
