"""From a model's name or path to an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import torch

from clip_engine.acceleration import Acceleration
from clip_engine.engine import Engine, ModelIdentity
from clip_engine.errors import DeviceError, ModelNotFoundError
from clip_engine.formats import read_checkpoint
from clip_engine.model import Activation
from clip_engine.precision import Precision, default_precision
from clip_engine.preprocess import DEFAULT_MAX_PIXELS, FORMATS, Mode, Preprocessor
from clip_engine.tokenizer import Tokenizer
from clip_engine.weights.cache import default_cache_dir, fetch_weights
from clip_engine.weights.catalog import PUBLISHED

DEFAULT_MODEL = "ViT-B/32"
DEMO_MODEL = "demo"  # shipped with this package; see demo/MODEL_CARD.md


def load_engine(  # noqa: PLR0913  # each has a default that serves
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
    """Load a model and everything that classifying with it takes.

    Args:
        model: A published name (`ViT-B/32`), fetched on first use; `demo`; or a checkpoint's path,
            a file or a folder, in any format of `clip_engine.formats`.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: Of the image tower's matrix products; None for
            float16 on CUDA, float32 elsewhere.
        activation: Of the MLPs, against what the checkpoint says; None to go by it.
        preprocessing: `fast` or `exact`.
        max_pixels: Largest picture that is decoded, in pixels; None for the default.
        formats: Image formats that are decoded, by Pillow's names.
        buckets: Batch sizes, ascending; None for those that suit the model on its device.
        acceleration: Which pieces make the towers faster; None for all.
        replicas: Threads that will run towers at the same time.
        cache_dir: Where published weights are kept; None for `~/.cache/clip`.
        mirror: Base URL that they are fetched from instead of the publisher's, as
            `<mirror>/<sha256>/<file>`.
        offline: Whether to fetch nothing.
        progress: Called with bytes done and bytes in all while weights are fetched.

    Raises:
        ModelNotFoundError: Neither a name nor a file.
        DownloadError: Published weights can't be fetched.
        CheckpointError: The file holds no CLIP model.
        DeviceError: There is no such device.
    """
    target = resolve_device(device)
    path = locate_checkpoint(model, cache_dir, progress, mirror=mirror, offline=offline)
    checkpoint = read_checkpoint(path, activation)
    clip = checkpoint.build()
    most_pixels = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    return Engine(
        clip,
        identity=ModelIdentity(model_name(model), checkpoint.digest()),
        tokenizer=Tokenizer(),
        preprocessor=Preprocessor(
            clip.config.image_resolution, preprocessing, most_pixels, formats
        ),
        normalisation=checkpoint.normalisation,
        device=target,
        precision=precision or default_precision(target),
        buckets=buckets,
        acceleration=acceleration or Acceleration(),
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
    """The file of a model, fetched first if it is a published one that isn't there yet.

    Raises:
        ModelNotFoundError: Neither a name nor a file.
        DownloadError: Published weights can't be fetched.
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
        f"There is no model {model!r}: no such file or folder, and the names are {names}."
    )


def model_name(model: str) -> str:
    """What results call a model: its published name, or its file's stem."""
    return model if model == DEMO_MODEL or model in PUBLISHED else Path(model).stem


def resolve_device(device: str) -> torch.device:
    """The torch device of this name, if this machine has it.

    Raises:
        DeviceError: It is no device's name, or the machine has none such.
    """
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"{device!r} is no device; give cpu, cuda or cuda:N.") from error
    if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"The device is {device!r}, but torch sees {torch.cuda.device_count()} CUDA devices "
            "here; give cpu, or mend the driver."
        )
    return target
