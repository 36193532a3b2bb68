"""Finds the file with the weights in a model's folder."""

from __future__ import annotations

from pathlib import Path

from clip_engine.errors import CheckpointError
from clip_engine.formats.foreign import foreign_folder
from clip_engine.weights.layouts import HUGGING_FACE_CONFIG, LAYOUTS, OPEN_CLIP_CONFIG

MOST_LISTED = 5  # files in an error message


def find_weights(path: Path) -> Path:
    """The path of the weights in a folder; a path that is not a folder is returned unchanged.

    Raises:
        CheckpointError: The folder has no config file, or no weights beside it.
    """
    if not path.is_dir():
        return path
    for config, names in LAYOUTS:
        if (path / config).is_file():
            for name in names:
                if (path / name).is_file():
                    return path / name
    raise CheckpointError(f"The folder {str(path)!r} {_what_is_missing(path)}.")


def _what_is_missing(folder: Path) -> str:
    found = sorted(entry.name for entry in folder.iterdir())
    if not found:
        return "is empty; give one with a config file and weights"
    if kind := foreign_folder(found):
        return f"has {kind}"
    configs = {config: names for config, names in LAYOUTS if config in found}
    if configs:
        wanted = "; ".join(f"{config} needs one of {', '.join(n)}" for config, n in configs.items())
        return f"has a config file but no weights ({wanted})"
    names = ", ".join(found[:MOST_LISTED]) + (" and more" if len(found) > MOST_LISTED else "")
    return (
        f"has {names}, but neither {HUGGING_FACE_CONFIG} nor {OPEN_CLIP_CONFIG}; add the model's "
        "config file, or give the path of the weights"
    )
