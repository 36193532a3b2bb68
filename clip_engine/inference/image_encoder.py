"""Runs the image tower on batches of fixed sizes: uint8 pixels in, normalised features out.

Axes: B images, D embedding, R pixels a side.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.acceleration import Acceleration
from clip_engine.acceleration.cuda_graphs import BucketGraphs
from clip_engine.dual_encoder import DualEncoder
from clip_engine.inference.batches_in_flight import BatchesInFlight, stack_padded
from clip_engine.inference.device_errors import is_out_of_memory
from clip_engine.inference.memory_limit import BatchLimit
from clip_engine.inference.warm_up import (
    MEASURED_SIZES,
    WarmUp,
    images_per_s,
    measure_sizes,
    smallest_good,
)

logger = logging.getLogger(__name__)


class ImageEncoder:
    """Encodes images with a model's image tower. Thread-safe.

    Args:
        model: The model.
        buckets: Batch sizes, ascending.
        acceleration: Which accelerations are on.
        in_flight: Batches that may be in flight on a GPU at the same time.
        measures: Whether the warm-up on a GPU lowers the largest batch to what it measures.
    """

    def __init__(
        self,
        model: DualEncoder,
        *,
        buckets: tuple[int, ...],
        acceleration: Acceleration,
        in_flight: int = 1,
        measures: bool = False,
    ) -> None:
        self.buckets = buckets
        self.limit = BatchLimit(buckets[-1], "images", self._drop_graphs)
        self._model = model
        device = self._device = model.device
        self._mean = torch.tensor(model.normalisation.mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(model.normalisation.std, device=device).view(3, 1, 1)
        self._measures = measures
        self._records = acceleration.cuda_graphs
        self._graphs = BucketGraphs(self._encode)
        # None where torch has no streams to overlap transfers and forward passes.
        self._in_flight = (
            BatchesInFlight(
                self._graphs.run, device, most=in_flight, pinned=acceleration.pinned_upload
            )
            if is_gpu(device)
            else None
        )

    @torch.inference_mode()
    def encode(self, pixels: Sequence[Tensor]) -> Tensor:
        """Encode images.

        Args:
            pixels: B images, uint8 `[3, R, R]` each; any number, run in buckets.

        Returns:
            float32 `[B, D]`, each row of length 1, on the CPU.

        Raises:
            DeviceMemoryError: Not even one image fits into the device's memory.
            DeviceLostError: The device failed for good.
        """
        run = self._run_alone if self._in_flight is None else self._in_flight.run
        features = self.limit.run(pixels, run, self._bucket)
        return torch.cat(features) if features else torch.empty(0, self._model.embed_dim)

    @torch.inference_mode()
    def warm(self) -> WarmUp:
        """Do the lazy set-up that would otherwise slow the first batches down.

        On a CPU nothing depends on the batch size, so one image is enough. On a GPU batch sizes
        are measured, buffers are allocated, and the graph of each bucket is recorded.

        Raises:
            DeviceMemoryError: Not even one image fits into the device's memory.
            DeviceLostError: The device failed for good.
        """
        start = time.perf_counter()
        self.encode(self._blank(self.buckets[0]))
        rates: dict[int, float] = {}
        if self._in_flight is not None:
            self.encode(self._blank(2))  # what is compiled, is for two images and more
            rates = self._measure(self._in_flight) if self._measures else {}
            for _ in range(self._in_flight.most):
                self.encode(self._blank(self.limit.largest))
            self._record_all(self._in_flight)
        return WarmUp(time.perf_counter() - start, self._graphs.sizes, rates)

    def _measure(self, batches: BatchesInFlight) -> dict[int, float]:
        """Images a second by batch size; lowers the limit to a size that is fast enough."""
        synchronize = partial(torch.get_device_module(self._device).synchronize, self._device)

        def rate(size: int) -> float:
            noise = self._noise(size)
            with batches.paused():
                self._record(noise, [size])
                return images_per_s(lambda: self._graphs.run(noise), size, synchronize)

        sizes = [size for size in self.buckets if size in MEASURED_SIZES]
        rates = measure_sizes(lambda size: self.limit.attempt(size, partial(rate, size)), sizes)
        if rates:
            self.limit.lower(smallest_good(rates))
        self._drop_graphs()
        return rates

    def _record_all(self, batches: BatchesInFlight) -> None:
        """Record the graphs of all buckets up to the limit, which falls if they don't fit."""

        def record() -> bool:
            largest = self.limit.largest
            sizes = {*(size for size in self.buckets if size < largest), largest}
            noise = self._noise(largest)
            with batches.paused():
                self._record(noise, sorted(sizes))
            return True

        while not self.limit.attempt(self.limit.largest, record):
            pass

    def _record(self, noise: Tensor, sizes: Sequence[int]) -> None:
        if not self._records:
            return
        try:
            self._graphs.record(noise, sizes)
        except RuntimeError as error:  # if the device is lost, the next forward pass fails too
            # Ending a recording that ran out of memory may raise another error.
            if any(is_out_of_memory(each) for each in (error, error.__context__)):
                raise torch.OutOfMemoryError(str(error)) from error
            self._records = False
            logger.warning("CUDA graphs could not be recorded and are not used: %s", error)

    def _drop_graphs(self) -> None:
        """Free their memory: they share it, so it is the largest one's until all are gone."""
        if self._in_flight is not None and self._graphs.sizes:
            with self._in_flight.paused():
                self._graphs.drop()

    def _blank(self, count: int) -> list[Tensor]:
        resolution = self._model.transform.resolution
        return [torch.zeros(3, resolution, resolution, dtype=torch.uint8)] * count

    def _noise(self, size: int) -> Tensor:
        resolution = self._model.transform.resolution
        shape = (size, 3, resolution, resolution)
        return torch.randint(256, shape, dtype=torch.uint8, device=self._device)

    def _bucket(self, count: int) -> int:
        return next(size for size in self.buckets if size >= count)

    def _run_alone(self, pixels: Sequence[Tensor], size: int) -> Tensor:
        batch = torch.empty((size, *pixels[0].shape), dtype=torch.uint8)
        stack_padded(pixels, batch)
        features = self._encode(batch.to(self._device))[: len(pixels)]
        return functional.normalize(features.float(), dim=-1).cpu()

    def _encode(self, pixels: Tensor) -> Tensor:
        """Raw pixels to the tower's features, which are not normalised; all on the device."""
        return self._model.encode_image((pixels.float() / 255 - self._mean) / self._std)


def is_gpu(device: torch.device) -> bool:
    """Whether batches of a device are uploaded, measured and recorded."""
    return device.type == "cuda"
