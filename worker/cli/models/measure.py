"""Measures a model's image tower on this machine."""

from __future__ import annotations

import time
from pathlib import Path

from clip_engine.errors import ClipEngineError
from worker.cli.output.usage_error import WrongInputError

LEAST_S = 2.0  # of measuring, after the warm-up


def images_per_second(name: str, cache_dir: Path) -> float:
    """Images per second of the image tower alone, in the default batches, on a GPU if there is one.

    Decoding, scoring and Redis are left out. The worker's own rate is below it.

    Raises:
        WrongInputError: The model can't be loaded.
    """
    import torch

    from clip_engine.loader import load_engine

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        engine = load_engine(name, device=device, cache_dir=cache_dir, offline=True)
        engine.warm()
        side = engine.preprocessor.transform.resolution
        batch = [torch.zeros(3, side, side, dtype=torch.uint8)] * engine.max_batch
        images, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < LEAST_S or not images:
            engine.encode_pixels(batch)
            images += len(batch)
    except ClipEngineError as error:
        raise WrongInputError(f"{name} can't be measured. {error}") from error
    return images / passed
