"""JSON config files beside weights, checked against a model of what they may say."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from clip_engine.errors import CheckpointError

MOST_LISTED = 5  # faults in an error message

Config = TypeVar("Config", bound=BaseModel)


def read_config(path: Path, model: type[Config]) -> Config:
    """Read a config file.

    Raises:
        CheckpointError: It can't be read, is no JSON, or says what this engine can't do; each
            entry at fault is named.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} can't be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise CheckpointError(
            f"{str(path)!r} describes no CLIP model that can be run here: {_faults(error)}."
        ) from error


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False)
    listed = []
    for fault in faults[:MOST_LISTED]:
        entry = ".".join(map(str, fault["loc"]))
        given = f"{entry} is {repr(fault['input'])[:80]}: " if entry else ""
        listed.append(given + fault["msg"])
    more = [f"{len(faults) - MOST_LISTED} more"] if len(faults) > MOST_LISTED else []
    return "; ".join(listed + more)
