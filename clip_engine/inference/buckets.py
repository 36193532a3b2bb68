"""The batch sizes at which the image tower runs, and the largest one that is useful.

GPUs need large batches. On a CPU, matrix products reach full speed at a few hundred rows, and
larger batches only add latency (docs/performance.md, "Batches on a CPU").
"""

from __future__ import annotations

from clip_engine.model import CLIPConfig

GPU_BATCH = 32
CPU_BATCHES = (8, 4, 2)
CPU_ROWS = 400  # tokens of eight images of ViT-B/32
STRIDE = 16  # of a ResNet's third stage, which does most of its work


def usual_batch(config: CLIPConfig, device: str) -> int:
    """The default for a model's largest batch.

    >>> from clip_engine.model import CLIPConfig
    >>> large = CLIPConfig(embed_dim=768, image_resolution=224, vision_layers=24,
    ...     vision_width=1024, vision_patch_size=14, transformer_width=768, transformer_layers=12)
    >>> usual_batch(large, "cuda"), usual_batch(large, "cpu")
    (32, 2)

    Args:
        config: Of the model.
        device: The device's type, such as `cpu` or `cuda`.
    """
    if device != "cpu":
        return GPU_BATCH
    rows = (config.image_resolution // (config.vision_patch_size or STRIDE)) ** 2 + 1
    return next((size for size in CPU_BATCHES if size * rows <= CPU_ROWS), CPU_BATCHES[-1])


def buckets_up_to(largest: int) -> tuple[int, ...]:
    """Batch sizes 1, 2, 3, 4, 6, 8, 12, ... and the largest.

    Padding costs as much as images do: on average 12 % over batches of 1 to 32. With powers of two
    alone it would be 30 %.

    >>> buckets_up_to(10)
    (1, 2, 3, 4, 6, 8, 10)
    """
    sizes = {n * 2**i for i in range(largest.bit_length()) for n in (1, 3)}
    return tuple(sorted({*(size for size in sizes if size < largest), largest}))
