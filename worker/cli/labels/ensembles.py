"""The named sets of prompts, which the engine knows; without torch."""

from __future__ import annotations

from clip_engine.errors import InputError
from clip_engine.prompts import ensemble
from worker.cli.output.usage_error import WrongInputError


def ensemble_named(name: str) -> tuple[str, ...]:
    """The templates of an ensemble.

    Raises:
        WrongInputError: The name is unknown.
    """
    try:
        return ensemble(name)
    except InputError as error:
        raise WrongInputError(str(error)) from error
