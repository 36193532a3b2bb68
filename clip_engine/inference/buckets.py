"""The batch sizes at which the image tower runs, and the largest one that is useful.

GPUs need large batches; the warm-up measures how large (`clip_engine.inference.warm_up`). On a
CPU, matrix products reach full speed at a few hundred rows, and larger batches only add latency
(docs/performance.md, "Batches on a CPU").
"""

from __future__ import annotations

GPU_BATCH = 512
CPU_BATCHES = (8, 4, 2)
CPU_ROWS = 400  # tokens of eight images of ViT-B/32


def usual_batch(image_tokens: int, device: str) -> int:
    """The default for a model's largest batch; on a GPU the warm-up lowers it.

    >>> usual_batch(257, "cuda"), usual_batch(257, "cpu")  # ViT-L/14
    (512, 2)

    Args:
        image_tokens: Tokens of an image in the image tower.
        device: The device's type, such as `cpu` or `cuda`.
    """
    if device != "cpu":
        return GPU_BATCH
    fitting = (size for size in CPU_BATCHES if size * image_tokens <= CPU_ROWS)
    return next(fitting, CPU_BATCHES[-1])


def buckets_up_to(largest: int) -> tuple[int, ...]:
    """Batch sizes 1, 2, 3, 4, 6, 8, 12, ... and the largest.

    Padding costs as much as images do: on average 12 % over batches of 1 to 32. With powers of two
    alone it would be 30 %.

    >>> buckets_up_to(10)
    (1, 2, 3, 4, 6, 8, 10)
    """
    sizes = {n * 2**i for i in range(largest.bit_length()) for n in (1, 3)}
    return tuple(sorted({*(size for size in sizes if size < largest), largest}))
