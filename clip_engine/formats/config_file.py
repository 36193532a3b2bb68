"""Reads and validates JSON config files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from clip_engine.errors import CheckpointError

MOST_LISTED = 5  # problems in an error message

Config = TypeVar("Config", bound=BaseModel)


def read_config(path: Path, model: type[Config]) -> Config:
    """Read a config file.

    Raises:
        CheckpointError: It can't be read, isn't JSON, or describes an unsupported model; the
            message names the entries.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} can't be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise CheckpointError(
            f"{str(path)!r} doesn't describe a supported CLIP model: {_problems(error)}."
        ) from error


def _problems(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    listed = []
    for problem in problems[:MOST_LISTED]:
        entry = ".".join(map(str, problem["loc"]))
        given = f"{entry} is {repr(problem['input'])[:80]}: " if entry else ""
        listed.append(given + problem["msg"])
    more = [f"{len(problems) - MOST_LISTED} more"] if len(problems) > MOST_LISTED else []
    return "; ".join(listed + more)
