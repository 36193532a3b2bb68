"""Errors of the model, as the command line prints them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clip_engine.errors import ClipEngineError, ImageError, InputError
from clip_worker.errors import ServiceError
from worker.cli.output.usage_error import WrongInputError


@contextmanager
def engine_errors() -> Iterator[None]:
    """Translate errors of the engine that are raised inside the block.

    Raises:
        WrongInputError: A text is too long, or an image can't be decoded.
        ServiceError: The model failed.
    """
    try:
        yield
    except (InputError, ImageError) as error:
        raise WrongInputError(str(error)) from error
    except ClipEngineError as error:
        raise ServiceError(str(error)) from error
