"""What is known of the settings without loading them, which only the worker can, or torch."""

from typing import Literal

ENV_PREFIX = "CLIP_WORKER_"
OBJECT_STORE_SCHEMES = ("s3", "gs", "az")  # the default of CLIP_WORKER_OBJECT_STORE_SCHEMES

# As in clip_engine.acceleration and clip_engine.preprocess, which load torch.
AccelerationName = Literal[
    "linear_patches",
    "folded_gelu",
    "folded_batch_norm",
    "prepacked",
    "trimmed_text",
    "shared_prefixes",
    "cached_text",
    "pinned_upload",
    "cuda_graphs",
]
ImageFormat = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "ICO"]
