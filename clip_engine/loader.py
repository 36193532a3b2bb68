"""Loads an engine by a model's name or path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import torch

from clip_engine.acceleration import Acceleration
from clip_engine.engine import Engine, ModelIdentity
from clip_engine.errors import DeviceError, ModelNotFoundError
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.formats import read_checkpoint
from clip_engine.model import Activation
from clip_engine.precision import Precision, default_precision
from clip_engine.preprocess import DEFAULT_MAX_PIXELS, FORMATS, Mode, Preprocessor
from clip_engine.tokenizer import Tokenizer
from clip_engine.weights.cache import default_cache_dir, fetch_weights
from clip_engine.weights.catalog import PUBLISHED

DEFAULT_MODEL = "ViT-B/32"
DEMO_MODEL = "demo"  # shipped with this package; see demo/MODEL_CARD.md


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
        model: A published name such as `ViT-B/32`, downloaded on first use; `demo`; or the path of
            a checkpoint, a file or a folder, in any format of `clip_engine.formats`.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: Of the image tower's matrix products; None for float16 on CUDA and float32
            elsewhere.
        activation: Of the MLPs, overriding the checkpoint's; None to use the checkpoint's.
        preprocessing: `fast` or `exact`.
        max_pixels: Largest image accepted, in pixels; None for the default.
        formats: Image formats accepted, by Pillow's names.
        buckets: Batch sizes, ascending; None for sizes that suit the model and the device.
        acceleration: Which accelerations are on; None for all.
        replicas: Number of threads that may run the image tower at the same time.
        cache_dir: Folder for published weights; None for `~/.cache/clip`.
        mirror: Base URL to download them from instead of the publisher's, as
            `<mirror>/<sha256>/<file>`.
        offline: Whether downloads are forbidden.
        progress: Called with the bytes done and the total, if known, during a download.

    Raises:
        ModelNotFoundError: The model is neither a known name nor an existing path.
        DownloadError: The weights can't be downloaded.
        CheckpointError: The checkpoint is not a CLIP model that can be loaded.
        DeviceError: There is no such device.
    """
    target = resolve_device(device)
    path = locate_checkpoint(model, cache_dir, progress, mirror=mirror, offline=offline)
    checkpoint = read_checkpoint(path, activation)
    acceleration = acceleration or Acceleration()
    encoder = ClipDualEncoder(
        checkpoint.build(),
        tokenizer=Tokenizer(),
        normalisation=checkpoint.normalisation,
        device=target,
        precision=precision or default_precision(target),
        acceleration=acceleration,
    )
    most_pixels = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    return Engine(
        encoder,
        identity=ModelIdentity(model_name(model), checkpoint.digest()),
        preprocessor=Preprocessor(
            encoder.transform.resolution, preprocessing, most_pixels, formats
        ),
        buckets=buckets,
        acceleration=acceleration,
        replicas=replicas,
    )


def locate_checkpoint(
    model: str,
    cache_dir: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    *,
    mirror: str | None = None,
    offline: bool = False,
) -> Path:
    """The path of a model's checkpoint; published weights are downloaded if they aren't cached.

    Raises:
        ModelNotFoundError: The model is neither a known name nor an existing path.
        DownloadError: The weights can't be downloaded.
    """
    if model == DEMO_MODEL:
        return Path(str(resources.files("clip_engine").joinpath("demo", "demo.pt")))
    if model in PUBLISHED:
        return fetch_weights(
            PUBLISHED[model],
            cache_dir or default_cache_dir(),
            mirror=mirror,
            offline=offline,
            progress=progress,
        )
    if Path(model).exists():
        return Path(model)
    names = ", ".join([DEMO_MODEL, *PUBLISHED])
    raise ModelNotFoundError(
        f"Unknown model {model!r}; give one of {names}, or the path of a checkpoint."
    )


def model_name(model: str) -> str:
    """A model's name in results: the published one, or the file's name without its suffix."""
    return model if model == DEMO_MODEL or model in PUBLISHED else Path(model).stem


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
