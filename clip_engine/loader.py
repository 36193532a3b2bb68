"""Loads an engine by a model's name or path."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from clip_engine.acceleration import Acceleration
from clip_engine.engine import Engine, ModelIdentity
from clip_engine.errors import DeviceError, Float16RangeError
from clip_engine.families.load import load_dual_encoder
from clip_engine.model import Activation
from clip_engine.precision import Precision
from clip_engine.preprocess import DEFAULT_MAX_PIXELS, FORMATS, Mode, Preprocessor
from clip_engine.weights.locate import locate_model

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "ViT-B/32"


def load_engine(  # noqa: PLR0913  # each has a default
    model: str = DEFAULT_MODEL,
    *,
    device: str = "cpu",
    precision: Precision | None = None,
    activation: Activation | None = None,
    preprocessing: Mode = "fast",
    max_pixels: int | None = None,
    formats: tuple[str, ...] = FORMATS,
    buckets: Sequence[int] | None = None,
    acceleration: Acceleration | None = None,
    replicas: int = 1,
    cache_dir: Path | None = None,
    mirror: str | None = None,
    offline: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Engine:
    """Load a model with its tokenizer and preprocessing.

    Args:
        model: A name of `clip_engine.weights.locate`, downloaded on first use: `demo`, `ViT-B/32`,
            `ViT-B-16-SigLIP2-256/webli`, `openai/clip-vit-base-patch32`; or the path of a
            checkpoint, a file or a folder.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: Of the image tower's matrix products; None for float32 on a CPU, and on CUDA
            float16, or bfloat16 if the weights are stored in it or the model doesn't work in
            float16.
        activation: Of the MLPs, `gelu` or `quick_gelu`, overriding the checkpoint's; None to use
            the checkpoint's. Bare weights that aren't OpenAI's need it.
        preprocessing: `fast` or `exact`.
        max_pixels: Largest image accepted, in pixels; None for the default.
        formats: Image formats accepted, by Pillow's names.
        buckets: Batch sizes, ascending; None for sizes that suit the model and the device.
        acceleration: Which accelerations are on; None for all.
        replicas: Number of threads that may run the image tower at the same time.
        cache_dir: Folder for OpenAI's weights; None for `~/.cache/clip`. The Hugging Face hub's
            models are kept in its own cache.
        mirror: Base URL to download OpenAI's weights from instead of the publisher's, as
            `<mirror>/<sha256>/<file>`.
        offline: Whether downloads are forbidden.
        progress: Called with the bytes done and the total, if known, during a download.

    Raises:
        ModelNotFoundError: The model is neither a known name nor an existing path.
        DownloadError: The weights can't be downloaded.
        CheckpointError: The model can't be read, is of a family that isn't supported, or needs a
            library that isn't installed.
        DeviceError: There is no such device.
    """
    target = resolve_device(device)
    located = locate_model(model, cache_dir, progress, mirror=mirror, offline=offline)
    load = partial(
        load_dual_encoder,
        located,
        device=target,
        activation=activation,
        acceleration=acceleration,
    )
    try:
        loaded = load(precision=precision)
    except Float16RangeError:
        if precision is not None:
            raise
        logger.warning(
            "The image tower of %r runs in bfloat16: its activations are too large for float16.",
            located.name,
        )
        loaded = load(precision="bfloat16")
    most_pixels = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    return Engine(
        loaded.encoder,
        identity=ModelIdentity(located.name, loaded.digest),
        preprocessor=Preprocessor(loaded.encoder.transform, preprocessing, most_pixels, formats),
        buckets=buckets,
        acceleration=acceleration or Acceleration(),
        replicas=replicas,
    )


def resolve_device(device: str) -> torch.device:
    """The torch device of this name.

    Raises:
        DeviceError: The name is invalid, or this machine has no such device.
    """
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"Unknown device {device!r}; give cpu, cuda or cuda:N.") from error
    if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"The device {device!r} is not available: torch finds {torch.cuda.device_count()} CUDA "
            "devices; give cpu, or check the driver."
        )
    return target
