"""Reads a checkpoint of any supported format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import get_args

from clip_engine.errors import InputError
from clip_engine.formats import hugging_face, open_clip, openai
from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.find_weights import find_weights
from clip_engine.formats.weights_file import read_weights
from clip_engine.model import Activation

# The first format that recognises the weights interprets them; the last one recognises all.
FORMATS: tuple[ModuleType, ...] = (hugging_face, openai, open_clip)


def read_checkpoint(
    path: Path,
    activation: Activation | None = None,
    config: Mapping[str, object] | None = None,
) -> Checkpoint:
    """Read a checkpoint of any format.

    Args:
        path: A file with weights, the index of sharded weights, or a folder with weights and a
            config file.
        activation: Of the MLPs, overriding the files; None to use theirs. OpenAI's files and config
            files specify it; other bare weights don't.
        config: The content of an `open_clip_config.json`, for weights in OpenCLIP's format without
            that file; it is part of the digest.

    Raises:
        InputError: The activation is unknown.
        CheckpointError: The checkpoint can't be read, is not a supported CLIP model, or doesn't
            specify its activation, and `activation` is None.
    """
    if activation is not None and activation not in get_args(Activation):
        raise InputError(
            f"Unknown activation {activation!r}; give one of {', '.join(get_args(Activation))}, or "
            "None for the checkpoint's own."
        )
    weights = read_weights(find_weights(path))
    if config is not None:
        return open_clip.by_config(path, weights, config).with_activation(activation)
    form = next(form for form in FORMATS if form.recognises(weights))
    checkpoint: Checkpoint = form.interpret(path, weights)
    return checkpoint.with_activation(activation)
