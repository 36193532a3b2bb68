"""Batch sizes that the image tower is run at, and the largest that is of use.

A GPU wants large batches. On a CPU a matrix product is as fast as it gets once it has some hundred
rows, and a larger batch only makes everybody wait for longer (docs/performance.md, "Batches on a
CPU").
"""

from __future__ import annotations

from clip_engine.model import CLIPConfig

GPU_BATCH = 32
CPU_BATCHES = (8, 4, 2)
CPU_ROWS = 400  # eight pictures of ViT-B/32 have as many tokens
STRIDE = 16  # of a ResNet's third stage, where most of its work is


def usual_batch(config: CLIPConfig, device: str) -> int:
    """The largest batch for a model where nobody says otherwise.

    >>> from clip_engine.model import CLIPConfig
    >>> large = CLIPConfig(embed_dim=768, image_resolution=224, vision_layers=24,
    ...     vision_width=1024, vision_patch_size=14, transformer_width=768, transformer_layers=12)
    >>> usual_batch(large, "cuda"), usual_batch(large, "cpu")
    (32, 2)

    Args:
        config: Of the model.
        device: `cpu`, or another kind of device.
    """
    if device != "cpu":
        return GPU_BATCH
    rows = (config.image_resolution // (config.vision_patch_size or STRIDE)) ** 2 + 1
    return next((size for size in CPU_BATCHES if size * rows <= CPU_ROWS), CPU_BATCHES[-1])


def buckets_up_to(largest: int) -> tuple[int, ...]:
    """Batch sizes 1, 2, 3, 4, 6, 8, 12, ... and the largest.

    Padding costs as much as pictures do. Over batches of 1 to 32 it makes 12 % more on average;
    powers of two alone would make 30 %.

    >>> buckets_up_to(10)
    (1, 2, 3, 4, 6, 8, 10)
    """
    sizes = {n * 2**i for i in range(largest.bit_length()) for n in (1, 3)}
    return tuple(sorted({*(size for size in sizes if size < largest), largest}))
