"""Which file of a model's folder holds its weights."""

from __future__ import annotations

from pathlib import Path

from clip_engine.errors import CheckpointError

HUGGING_FACE_CONFIG = "config.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"
# A config's name, and what its ecosystem calls the weights beside it; the first there is taken.
# Folders with OpenCLIP's set often hold another one too, which may be timm's image tower alone.
LAYOUTS = (
    (OPEN_CLIP_CONFIG, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")),
    (
        HUGGING_FACE_CONFIG,
        (
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
        ),
    ),
)
MOST_LISTED = 5  # files in an error message


def find_weights(path: Path) -> Path:
    """The weights of a folder that also holds their config; a file is its own.

    Raises:
        CheckpointError: The folder holds no config, or no weights beside it.
    """
    if not path.is_dir():
        return path
    for config, names in LAYOUTS:
        if (path / config).is_file():
            for name in names:
                if (path / name).is_file():
                    return path / name
    raise CheckpointError(f"The folder {str(path)!r} {_what_lacks(path)}.")


def _what_lacks(folder: Path) -> str:
    found = sorted(entry.name for entry in folder.iterdir())
    if not found:
        return "is empty; give one that holds a config file and weights"
    configs = {config: names for config, names in LAYOUTS if config in found}
    if configs:
        wanted = "; ".join(f"{config} goes with {', '.join(n)}" for config, n in configs.items())
        return f"holds a config but no weights beside it ({wanted})"
    names = ", ".join(found[:MOST_LISTED]) + (" and more" if len(found) > MOST_LISTED else "")
    return (
        f"holds {names}, but neither {HUGGING_FACE_CONFIG} nor {OPEN_CLIP_CONFIG}; add the model's "
        "config, or give the file of weights itself"
    )
