"""Loads a model into this process, as a worker's settings say."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

from clip_worker.errors import ServiceError
from worker.cli.output.usage_error import WrongInputError
from worker.runtime.assembly import load
from worker.runtime.device import pin_device, usable_gpus
from worker.runtime.download_progress import download_progress
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_engine.engine import Engine


@contextmanager
def loaded_engine(model: str | None) -> Iterator[Engine]:
    """The engine of a model, for the length of the block.

    Args:
        model: As for CLIP_WORKER_MODEL, which is the default.

    Raises:
        WrongInputError: A setting is wrong, or the model can't be loaded.
    """
    try:
        settings = Settings.load()
        if model is not None:
            settings = settings.model_copy(update={"model": model})
        device = pin_device(settings.device, partial(usable_gpus, torch.cuda))
        with download_progress() as progress:
            engine = load(settings, device.name, progress)
    except ServiceError as error:
        raise WrongInputError(str(error)) from error
    try:
        yield engine
    finally:
        if device.lock is not None:
            device.lock.release()
