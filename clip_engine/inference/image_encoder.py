"""Runs the image tower on batches of fixed sizes: uint8 pixels in, normalised features out.

Axes: B images, D embedding, R pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.acceleration import Acceleration
from clip_engine.acceleration.cuda_graphs import BucketGraphs
from clip_engine.dual_encoder import DualEncoder
from clip_engine.inference.memory_limit import BatchLimit


class ImageEncoder:
    """Encodes images with a model's image tower. Thread-safe.

    Args:
        model: The model.
        buckets: Batch sizes, ascending.
        acceleration: Which accelerations are on.
    """

    def __init__(
        self,
        model: DualEncoder,
        *,
        buckets: tuple[int, ...],
        acceleration: Acceleration,
    ) -> None:
        self.buckets = buckets
        self.limit = BatchLimit(buckets[-1], "images")
        self._model = model
        device = self._device = model.device
        self._mean = torch.tensor(model.normalisation.mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(model.normalisation.std, device=device).view(3, 1, 1)
        cuda = device.type == "cuda"
        self._pin = cuda and acceleration.pinned_upload
        self._records = cuda and acceleration.cuda_graphs
        self._graphs = BucketGraphs(self._encode)

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
        features = self.limit.run(pixels, self._run_bucket, self._bucket)
        return torch.cat(features) if features else torch.empty(0, self._model.embed_dim)

    @torch.inference_mode()
    def warm(self) -> None:
        """Do the lazy set-up that would otherwise slow the first batches down.

        On CUDA that is a forward pass of each bucket, and recording its graph. On a CPU nothing
        depends on the batch size, so one image is enough.
        """
        resolution = self._model.transform.resolution
        blank = torch.zeros(3, resolution, resolution, dtype=torch.uint8)
        for bucket in self.buckets if self._device.type == "cuda" else self.buckets[:1]:
            self.encode([blank] * bucket)
        if self._records:
            sizes = [size for size in self.buckets if size <= self.limit.largest]
            shape = (3, resolution, resolution)
            self._graphs.record(
                [
                    torch.randint(256, (size, *shape), dtype=torch.uint8, device=self._device)
                    for size in sizes
                ]
            )

    def _bucket(self, count: int) -> int:
        return next(size for size in self.buckets if size >= count)

    def _run_bucket(self, pixels: Sequence[Tensor], size: int) -> Tensor:
        batch = self._upload(pixels, size)
        features = self._graphs.run(batch)[: len(pixels)]
        return functional.normalize(features.float(), dim=-1).cpu()

    def _upload(self, pixels: Sequence[Tensor], size: int) -> Tensor:
        """The images as a batch on the device, uint8 `[size, 3, R, R]`, padded with black ones."""
        batch = torch.empty((size, *pixels[0].shape), dtype=torch.uint8, pin_memory=self._pin)
        torch.stack(list(pixels), out=batch[: len(pixels)])
        batch[len(pixels) :] = 0
        # torch reuses pinned memory only when the copy that reads it has finished.
        return batch.to(self._device, non_blocking=self._pin)

    def _encode(self, pixels: Tensor) -> Tensor:
        """Raw pixels to the tower's features, which are not normalised; all on the device."""
        return self._model.encode_image((pixels.float() / 255 - self._mean) / self._std)
